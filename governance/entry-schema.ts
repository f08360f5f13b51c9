/**
 * What each kind of entry says: the published JSON Schema (docs/ledger-entry.schema.json) is made from this table, and what
 * real runs write in the tests has to fit it. Fields may be added; those that are named here stay.
 */
import { ENTRY_KINDS, type EntryKind } from './entry.ts';
import type { JsonObject } from './json.ts';

/** hash: SHA-256, hex. amount: `{ usdMicros, tokens, calls }`. list: of texts or objects. */
type Field = 'text' | 'maybe text' | 'number' | 'flag' | 'hash' | 'maybe hash' | 'amount' | 'object' | 'list';

interface Said {
  readonly says: string;
  /** Whether `run` and `call` are there: always, never, or it depends. */
  readonly run: 'always' | 'never' | 'maybe';
  readonly call?: 'always' | 'maybe';
  /** Fields of `data` that are always there. */
  readonly data: { readonly [field: string]: Field };
}

const CALL = { run: 'always', call: 'always' } as const;
const ASK = { ...CALL, data: { approvalId: 'text', requestSha256: 'hash' } } as const;
const SIGNED = { person: 'text', key: 'hash', nonce: 'text', envelopeSha256: 'hash' } as const;

/** Every kind, what it says, and what it always holds. */
// prettier-ignore
export const ENTRY_SAYS: { readonly [K in EntryKind]: Said } = {
  'run.opened': { says: 'a run was opened: for whom, by whom, with which limits, tools and policies', run: 'always', data: { user: 'text', agent: 'text', mode: 'text', openedBy: 'text', limit: 'object', tools: 'hash', policy: 'text', deadline: 'text', inputCommitment: 'hash' } },
  'run.frozen': { says: 'a person stopped the run', run: 'always', data: { by: 'text', reason: 'text' } },
  'run.thawed': { says: 'a signed command let it go on', run: 'always', data: { by: 'text', reason: 'text' } },
  'run.closed': { says: 'it ended; `lastSeq` is the number of its last call', run: 'always', data: { user: 'text', agent: 'text', status: 'text', lastSeq: 'number' } },
  'run.reconciled': { says: "its calls were compared with its workflow's history", run: 'always', data: { workflow: 'text', historyLength: 'number', digest: 'hash', agrees: 'flag', notInLedger: 'list', notInHistory: 'list' } },
  'run.recovered': { says: 'a signed command let it go on after a Temporal reset or a restored database', run: 'always', data: { person: 'text', reason: 'text', temporalRun: 'text' } },
  'call.denied': { says: 'a call was refused, with which code', run: 'always', call: 'maybe', data: { code: 'text' } },
  'call.repeated': { says: 'the same effect was there already: the call got its first result', ...CALL, data: { of: 'text' } },
  'call.asked': { says: "a call needs a person's yes, for which gates", ...CALL, data: { approvalId: 'text', argsCommitment: 'hash', requestCommitment: 'hash', gates: 'list', reasons: 'list', policy: 'text' } },
  'call.started': { says: 'a call begins: autonomous or approved, and what is reserved for it', ...CALL, data: { authorization: 'text', reserved: 'amount' } },
  'call.succeeded': { says: 'it succeeded, and what it cost', ...CALL, data: {} },
  'call.failed': { says: 'it failed: nothing happened, or its model gave no answer', ...CALL, data: {} },
  'call.unknown': { says: 'nobody knows whether it happened', ...CALL, data: {} },
  'call.resolved': { says: 'a person said what became of it', ...CALL, data: { happened: 'flag', resolvedBy: 'text', reason: 'text' } },
  'call.late': { says: 'an outcome came after another attempt had taken over', ...CALL, data: {} },
  'call.contradicted': { says: 'a late outcome contradicts what was recorded', ...CALL, data: { state: 'text', found: 'text' } },
  'approval.requested': { says: 'a request to approve exactly this was made', ...CALL, data: { approvalId: 'text', requestSha256: 'hash', gates: 'list', expiresAt: 'text' } },
  'approval.answered': { says: 'a person signed an answer', ...CALL, data: { ...ASK.data, decision: 'text', person: 'text', key: 'hash', envelopeSha256: 'hash' } },
  'approval.granted': { says: 'enough people said yes', ...CALL, data: { ...ASK.data, person: 'text' } },
  'approval.rejected': { says: 'a person said no', ...CALL, data: { ...ASK.data, person: 'text' } },
  'approval.invalid': { says: 'an answer did not count, and why', run: 'always', call: 'maybe', data: { approvalId: 'text', reason: 'text', envelopeSha256: 'maybe hash' } },
  'approval.expired': { says: 'nobody answered in time', ...ASK },
  'approval.withdrawn': { says: 'the ask is not wanted any more', ...ASK },
  'budget.exhausted': { says: 'what is left does not pay the next call', run: 'always', data: { needed: 'object' } },
  'budget.topped-up': { says: "a signed command raised the run's limits", run: 'always', data: { by: 'text', reason: 'text', more: 'object' } },
  'budget.threshold': { says: '50, 80 or 100 % of a limit are spent', run: 'maybe', data: { percent: 'number' } },
  'child.started': { says: 'a child run begins, with a part of the budget', run: 'always', data: { run: 'text', agent: 'text', reserved: 'amount' } },
  'child.ended': { says: 'it ended, and what it cost', run: 'always', data: { run: 'text', spent: 'amount' } },
  'account.changed': { says: "an account's limit was set, raised or frozen by a signed command", run: 'never', data: { ...SIGNED } },
  'command.accepted': { says: 'a signed command for a run counts', run: 'always', data: { ...SIGNED, verb: 'text', target: 'text' } },
  'command.invalid': { says: 'a command did not count, and why', run: 'maybe', data: { reason: 'text', envelopeSha256: 'maybe hash' } },
  'person.invited': { says: 'a person was invited to enrol a key', run: 'never', data: { invitation: 'text', person: 'text', roles: 'list', signer: 'hash' } },
  'key.pending': { says: 'an invited person made a key that does not count yet', run: 'never', data: { invitation: 'text', person: 'text', key: 'hash', envelopeSha256: 'hash' } },
  'key.enrolled': { says: 'a key counts for a person with these roles', run: 'never', data: { person: 'text', key: 'hash', roles: 'list', signer: 'hash', envelopeSha256: 'hash' } },
  'key.revoked': { says: 'a key, or all keys of a person, count no more', run: 'never', data: { person: 'text', key: 'maybe hash', by: 'text', reason: 'text' } },
  'freeze.set': { says: 'a tool, agent, user, tenant, model or everything is frozen', run: 'never', data: { scope: 'text', value: 'text', reason: 'text' } },
  'freeze.lifted': { says: 'a signed command lifted it', run: 'never', data: { ...SIGNED, scope: 'text', value: 'text', reason: 'text' } },
  'credential.revealed': { says: 'a tool was given a secret itself; its name, never its value', run: 'maybe', call: 'maybe', data: { name: 'text' } },
  'credential.used': { says: 'secrets went along with requests of an attempt', run: 'maybe', call: 'maybe', data: { uses: 'list' } },
  'ledger.broken': { says: 'the database is not what was sealed: everything is frozen', run: 'never', data: { trouble: 'text', reason: 'text' } },
  'ledger.recovered': { says: 'a root said that the ledger goes on from there', run: 'never', data: { trouble: 'text', reason: 'text', key: 'hash', nonce: 'text', statedReason: 'text', envelopeSha256: 'hash' } },
  'ledger.erased': { says: 'content was erased: whose, by whom, why', run: 'maybe', call: 'maybe', data: { ...SIGNED, target: 'text', reason: 'text', envelope: 'object', enrolment: 'object' } },
  'codec.decoded': { says: "encrypted payloads were decoded for Temporal's Web UI", run: 'never', data: { payloads: 'number', keys: 'list', namespace: 'text' } },
  'codec.destroyed': { says: "a tenant's keys were destroyed: what they sealed is unreadable for ever", run: 'never', data: { keys: 'list', reason: 'text', by: 'text' } },
  'policy.pushed': { says: 'a policy set is in the database', run: 'never', data: { policy: 'text', source: 'text', files: 'list' } },
  'policy.proposed': { says: 'a set that loosens waits for a second person', run: 'never', data: { policy: 'maybe text', role: 'text', person: 'text', people: 'list', key: 'hash', nonce: 'text', reason: 'text', loosens: 'list' } },
  'policy.activated': { says: 'a set decides from now on', run: 'never', data: { policy: 'maybe text', role: 'text', person: 'text', people: 'list', key: 'hash', nonce: 'text', reason: 'text', loosens: 'list' } },
};

const HASH: JsonObject = { type: 'string', pattern: '^[0-9a-f]{64}$' };
const NUMBER: JsonObject = { type: 'number' };
const FIELDS: { readonly [F in Field]: JsonObject } = {
  text: { type: 'string' },
  'maybe text': { type: ['string', 'null'] },
  number: NUMBER,
  flag: { type: 'boolean' },
  hash: HASH,
  'maybe hash': { anyOf: [HASH, { type: 'null' }] },
  amount: {
    type: 'object',
    properties: { usdMicros: NUMBER, tokens: NUMBER, calls: NUMBER },
    required: ['usdMicros', 'tokens', 'calls'],
  },
  object: { type: 'object' },
  list: { type: 'array' },
};

/** The JSON Schema (2020-12) of an entry: one of a closed list of kinds. */
export function entrySchema(): JsonObject {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'An entry of an ActGuard ledger, version 1',
    oneOf: ENTRY_KINDS.map(schemaOf),
  };
}

function schemaOf(kind: EntryKind): JsonObject {
  const { says, run, call, data } = ENTRY_SAYS[kind];
  const properties: { [field: string]: JsonObject } = {
    v: { const: 1 },
    kind: { const: kind },
    tenant: { type: 'string', minLength: 1 },
    key: { type: 'string', minLength: 1 },
    at: { type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$' },
    seq: { type: 'integer', minimum: 1 },
    data: {
      type: 'object',
      properties: Object.fromEntries(Object.entries(data).map(([field, of]) => [field, FIELDS[of]])),
      required: Object.keys(data),
    },
    ...(run === 'never' ? {} : { run: { type: 'string', minLength: 1 } }),
    ...(call === undefined ? {} : { call: { type: 'string', minLength: 1 } }),
  };
  const required = ['v', 'kind', 'tenant', 'key', 'at', 'data'];
  if (run === 'always') required.push('run');
  if (call === 'always') required.push('call');
  return { title: kind, description: says, type: 'object', properties, required, additionalProperties: false };
}

/** The table of kinds in docs/ledger-format.md. */
export function entryTable(): string {
  const rows = ENTRY_KINDS.map((kind) => {
    const fields = Object.keys(ENTRY_SAYS[kind].data).map((field) => `\`${field}\``);
    return `| ${kind} | ${ENTRY_SAYS[kind].says} | ${fields.join(', ')} |`;
  });
  return ['| kind | what it says | always in `data` |', '| --- | --- | --- |', ...rows].join('\n');
}
