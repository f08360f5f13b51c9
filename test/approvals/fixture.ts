/** A run with an ask on a real database, people with keys, and shorthand for what tests do to them. */
import { generateKeyPairSync } from 'node:crypto';
import type { CallFrame } from '../../activities/call-entries.ts';
import { openAsk, type OpenAskInput } from '../../activities/approvals.ts';
import { enrol } from '../../activities/directory.ts';
import { SecretSet } from '../../activities/scrub.ts';
import type { Database, Deps, PolicyGate } from '../../activities/deps.ts';
import type { Tool } from '../../define/types.ts';
import type { Grant } from '../../activities/grant.ts';
import { HARMLESS } from '../../governance/provenance.ts';
import { parseRequest, type ApprovalRequest } from '../../governance/approval.ts';
import { digestOf } from '../../governance/digest.ts';
import type { Json } from '../../governance/json.ts';
import { makeEnrolment } from '../../client/enrolment.ts';
import { generateKey, type SigningKey } from '../../client/keys.ts';

export const TENANT = 'acme';
const SHA = 'ab'.repeat(32);

/** Deps as far as approvals use them. */
export function makeDeps(db: Database, roots: readonly string[], dev = false, ttlMs = 60 * 60_000): Deps {
  return {
    db,
    roots,
    dev,
    config: { approvals: { roots, ttlMs, notify: [], maxPerHour: 1_000_000 } },
    log: () => undefined,
    known: new SecretSet(),
  } as unknown as Deps;
}

/** A tool without code. */
export const tool = {
  name: 'payments.refund',
  manifest: { digest: 'cd'.repeat(32) },
  code: {
    describe: (args: { amountCents: number; orderId: string }) =>
      `Refund ${args.amountCents} cents for order ${args.orderId}`,
  },
} as unknown as Tool;

export function gate(
  id: string,
  roles: readonly string[] = ['finance'],
  quorum = 1,
  key: 'any' | 'webauthn' = 'any',
): PolicyGate {
  return { id, sha256: SHA, roles, quorum, key, text: '' };
}

let runs = 0;

/** Opens a run of alice's; its id. */
export async function openRun(db: Database, tenant = TENANT): Promise<string> {
  const run = `run-${++runs}-${generateKey('x').keyId.slice(0, 8)}`;
  await db.query('select actguard.open_run($1::jsonb)', [
    JSON.stringify({
      run,
      tenant,
      user: 'alice',
      agent: 'desk',
      mode: 'agent',
      workflowId: `w-${run}`,
      temporalRun: 't',
      grant: {},
      entries: [],
    }),
  ]);
  return run;
}

/** What `callTool` hands to `openAsk`. */
export function askInput(
  run: string,
  call = 'c1',
  gates: readonly PolicyGate[] = [gate('over-100')],
  tenant = TENANT,
): OpenAskInput {
  const args: Json = { orderId: '1042', amountCents: 41_200 };
  const grant = { principal: { tenant, user: 'alice', agent: 'desk' } } as Grant;
  const frame: CallFrame = { input: { run, call, seq: 1, tool: tool.name }, grant, dev: false };
  return {
    frame,
    tool,
    args: args as never,
    argsDigest: digestOf(args),
    gates: gates.map((g) => g.id),
    policy: { digest: SHA, gate: (id) => gates.find((g) => g.id === id) },
    request: { context: { args } },
    facts: [
      { kind: 'order', value: '1042', provedAtMs: Date.now() - 5_000, expiresAtMs: Date.now() + 60_000, call: 'c0' },
    ],
    provenance: { judged: HARMLESS, sources: [] },
    reserved: { usdMicros: 0, tokens: 0, calls: 1 },
  };
}

/** Opens an ask and reads its stored request. */
export async function ask(deps: Deps, input: OpenAskInput): Promise<ApprovalRequest> {
  const opened = await openAsk(deps, input);
  if (opened.kind === 'denied') throw new Error(opened.denial.reason);
  return storedRequest(deps.db, opened.ask.approvalId);
}

export async function storedRequest(db: Database, approvalId: string): Promise<ApprovalRequest> {
  const [row] = await db.query<{ r: string }>(
    `select convert_from(request, 'UTF8') as r from actguard.approvals where approval = $1`,
    [approvalId],
  );
  const parsed = parseRequest(row?.r ?? '');
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.value;
}

/** Enrols a person with a key signed by a root. */
export async function person(
  deps: Deps,
  root: SigningKey,
  name: string,
  roles: readonly string[],
  tenant = TENANT,
): Promise<SigningKey> {
  const key = generateKey(name);
  await enrol(deps, makeEnrolment(key, root, { tenant, person: name, roles, nowMs: Date.now() }), []);
  return key;
}

/** Kinds and data of a run's entries in order. */
export async function entries(
  db: Database,
  run: string,
): Promise<{ kind: string; body: { data: Record<string, unknown> } }[]> {
  const rows = await db.query<{ kind: string; body: string }>(
    `select kind, convert_from(body, 'UTF8') as body from actguard.entries where run = $1 order by id`,
    [run],
  );
  return rows.map((r) => ({ kind: r.kind, body: JSON.parse(r.body) as { data: Record<string, unknown> } }));
}

export async function stateOf(db: Database, approvalId: string): Promise<string | undefined> {
  const [row] = await db.query<{ state: string }>('select state from actguard.approvals where approval = $1', [
    approvalId,
  ]);
  return row?.state;
}

/** A key that claims another public key than the one it signs with. */
export function impostor(publicKey: Uint8Array, keyId: string, name: string): SigningKey {
  return { keyId, publicKey, person: name, dev: false, privateKey: generateKeyPairSync('ed25519').privateKey };
}
