/** Every door that takes a signed command, and every way in which a command may be wrong: nothing changes, and its twin counts. */
import { beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { changeAccount } from '../../activities/change-account.ts';
import { verifyCommand } from '../../activities/commands.ts';
import { eraseContent } from '../../activities/erase.ts';
import { changeFreeze } from '../../activities/freezes.ts';
import type { WorkflowEyes } from '../../activities/janitor.ts';
import { changePolicies } from '../../activities/policy-activate.ts';
import { loadPolicies } from '../../activities/policy-load.ts';
import { recoverLedger } from '../../activities/recover-ledger.ts';
import { commandRun } from '../../activities/run-command.ts';
import { revokeKeys } from '../../client/directory.ts';
import { generateKey, signEnvelope, type SigningKey } from '../../client/keys.ts';
import { pushPolicies } from '../../client/policies.ts';
import { defineTool } from '../../define/index.ts';
import { toBase64 } from '../../governance/base64.ts';
import { COMMAND_VERBS, commandStatement, type Command, type CommandVerb } from '../../governance/command.ts';
import { APPROVAL_PAYLOAD_TYPE, COMMAND_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { desk, type TestRun, type TestWorker } from '../support/calls.ts';
import { sealAll, sealDeps } from '../support/ledger.ts';
import { digestOfTenant, tenantTables } from '../support/tenants.ts';
import { impostor, person } from './fixture.ts';

const pay = defineTool({
  name: 'pay',
  description: 'Pay',
  effect: 'write',
  settlesWithin: '1s',
  inputSchema: z.strictObject({ n: z.int() }),
  outputSchema: z.object({ ok: z.boolean() }),
  execute: () => ({ ok: true }),
});
const ALL = '@id("all") permit (principal, action, resource);\n';
const NONE = '@id("none") forbid (principal, action, resource);\n';

const at = desk();
const root = generateKey('root');
let worker: TestWorker;
let tables: readonly string[];
let nonces = 0;
const nonce = (): string => (++nonces).toString(16).padStart(32, '0');
beforeAll(async () => {
  worker = at.worker([pay], { policies: ALL, roots: [root.keyId] });
  tables = await tenantTables(at.db());
});

/** A run that was reset: Temporal runs it as `again` now. */
const eyes: WorkflowEyes = {
  tell: () => Promise.resolve(),
  describe: () => Promise.resolve({ status: 'RUNNING', temporalRun: 'again' } as never),
  history: () => Promise.resolve(null),
};

/** What a door changes, before anything came through it. */
interface Ready {
  readonly target: string;
  readonly data?: JsonObject;
  send(envelope: Json, delivery: string): Promise<{ readonly kind: string }>;
}

interface Door {
  readonly name: string;
  readonly verb: CommandVerb;
  /** Of its answer when a command counts. */
  readonly counts: string;
  /** It takes commands for what they themselves name: another target is another command. */
  readonly free?: true;
  /** Other verbs that it takes. */
  readonly takes?: readonly CommandVerb[];
  /** The same command again is answered with what it did. */
  readonly answers?: true;
  /** Every tenant's: a root commands. */
  readonly everywhere?: true;
  ready(tenant: string, run: TestRun): Promise<Ready>;
}

const runTo = (run: TestRun): string => `run:${run.run}`;
const toRun =
  ({ run }: TestRun): Ready['send'] =>
  (envelope, delivery) =>
    commandRun(worker.shared, { v: 1, kind: 'run', nonce: nonce(), run, envelope }, eyes, delivery);
const accountDoor = (verb: CommandVerb, data: JsonObject, frozen = false): Door => ({
  name: `${verb} of an account`,
  verb,
  counts: 'changed',
  answers: true,
  takes: ['limit', 'topUp', 'freeze', 'thaw'],
  async ready(tenant) {
    const account = { tenant, scope: 'tenant', value: tenant } as const;
    const limits = `insert into actguard.accounts (id, tenant, scope, value, limits, window_kind, zone, frozen) values ($1, $2, 'tenant', $2, '{5000000,null,null}', 'total', 'UTC', $3)`;
    await at.db().query(limits, [JSON.stringify([tenant, 'tenant', tenant]), tenant, frozen ? { by: 'x', reason: 'x' } : null]); // prettier-ignore
    return {
      target: `budget:tenant:${tenant}`,
      data,
      send: (envelope) => changeAccount(worker.shared.deps, { v: 1, account, state: null, envelope }),
    };
  },
});

const DOORS: readonly Door[] = [
  {
    name: 'topUp of a run',
    verb: 'topUp',
    counts: 'accepted',
    ready: (_tenant, run) =>
      Promise.resolve({
        target: runTo(run),
        data: { usdMicros: 5 },
        send: (envelope, delivery) =>
          verifyCommand(worker.shared.deps, { v: 1, run: run.run, entries: [], envelope, takes: ['topUp'], budget: { limit: { usdMicros: 9 } } }, delivery), // prettier-ignore
      }),
  },
  {
    name: 'thaw of a run',
    verb: 'thaw',
    counts: 'accepted',
    ready: (_tenant, run) =>
      Promise.resolve({
        target: runTo(run),
        send: (envelope, delivery) =>
          verifyCommand(worker.shared.deps, { v: 1, run: run.run, entries: [], envelope, takes: ['thaw'] }, delivery),
      }),
  },
  {
    name: 'resolve',
    verb: 'resolve',
    counts: 'done',
    takes: ['recover'],
    async ready(_tenant, run) {
      expect((await run.call('pay', { n: 1 }, { call: 'lost' })).kind).toBe('done');
      await at.db().query(`update actguard.calls set state = 'unknown', result = null where run = $1`, [run.run]);
      return {
        target: runTo(run),
        data: { call: 'lost', happened: true, result: { ok: true } },
        send: toRun(run),
      };
    },
  },
  {
    name: 'recover of a run',
    verb: 'recover',
    counts: 'done',
    takes: ['resolve'],
    ready: (_tenant, run) =>
      Promise.resolve({
        target: runTo(run),
        send: toRun(run),
      }),
  },
  {
    name: 'thaw of a scope',
    verb: 'thaw',
    counts: 'lifted',
    free: true,
    async ready(tenant) {
      const freeze = {
        v: 1,
        kind: 'freeze',
        nonce: nonce(),
        tenant,
        target: 'tool:pay',
        by: 'x',
        reason: 'x',
      } as const;
      expect((await changeFreeze(worker.shared.deps, freeze)).kind).toBe('set');
      return {
        target: 'tool:pay',
        send: (envelope, delivery) =>
          changeFreeze(worker.shared.deps, { v: 1, kind: 'thaw', nonce: nonce(), envelope }, delivery),
      };
    },
  },
  {
    name: 'signed freeze',
    verb: 'freeze',
    counts: 'set',
    free: true,
    ready: () =>
      Promise.resolve({
        target: 'tool:pay',
        send: (envelope, delivery) =>
          changeFreeze(worker.shared.deps, { v: 1, kind: 'signed-freeze', nonce: nonce(), envelope }, delivery),
      }),
  },
  accountDoor('topUp', { usdMicros: 1_000_000 }),
  accountDoor('limit', { usdMicros: 7_000_000 }),
  accountDoor('freeze', {}),
  accountDoor('thaw', {}, true),
  {
    name: 'erase',
    verb: 'erase',
    counts: 'erased',
    async ready(_tenant, run) {
      expect((await run.call('pay', { n: 1 })).kind).toBe('done');
      await at.db().query(`update actguard.runs set status = 'closed', closed_at = now() where run = $1`, [run.run]);
      return {
        target: `erase:${runTo(run)}`,
        send: (envelope, delivery) =>
          eraseContent(worker.shared.deps, { v: 1, kind: 'erase', nonce: nonce(), envelope }, delivery),
      };
    },
  },
  {
    name: 'activatePolicies',
    verb: 'activatePolicies',
    counts: 'active',
    free: true,
    async ready() {
      const files = [{ name: 'main.cedar', text: NONE }];
      const { digest } = loadPolicies({ files, tools: [pay.manifest], agents: ['desk', 'other'] });
      await pushPolicies(worker.shared.deps.db, { digest, files }, 'test');
      const store = worker.shared.deps.policySets;
      if (!store) throw new Error('the worker has no store');
      return {
        target: `policies:${digest}`,
        data: { replaces: null },
        send: (envelope, delivery) =>
          changePolicies(worker.shared.deps, store, { v: 1, kind: 'policies', nonce: nonce(), envelope }, delivery),
      };
    },
  },
  {
    name: 'recover of the ledger',
    verb: 'recover',
    counts: 'accepted',
    everywhere: true,
    async ready() {
      const seal = sealDeps(at.url());
      await sealAll(seal);
      await seal.db.end();
      const { roots, dev } = worker.shared.deps;
      return {
        target: 'ledger',
        data: { publicKey: toBase64(root.publicKey) },
        async send(envelope, delivery) {
          const own = sealDeps(at.url());
          const deps = { ...own, witnesses: [], worker: at.db(), dev: false, stopping: AbortSignal.timeout(60_000), log: () => undefined, trust: { roots, dev } }; // prettier-ignore
          const trouble = { kind: 'behind', reason: 'a test', head: null, last: null } as const;
          return recoverLedger(deps, { v: 1, envelope, trouble }, delivery).finally(() => own.db.end());
        },
      };
    },
  },
];

const minutes = (n: number): string => new Date(Date.now() + n * 60_000).toISOString();

describe.each(DOORS.map((door) => [door.name, door] as const))('P4 P7 %s', (name, door) => {
  test('a command that is wrong in any way changes nothing; its valid twin counts, once', async () => {
    const tenant = door.everywhere ? '*' : `t-${name.replaceAll(' ', '-')}`;
    const home = door.everywhere ? 'somewhere' : tenant;
    const run = await worker.run({ tenant: home });
    const { deps } = worker.shared;
    const olga = await person(deps, root, 'olga', ['operator'], home);
    const clerk = await person(deps, root, 'clerk', ['finance'], home);
    const gone = await person(deps, root, 'gone', ['operator'], home);
    await revokeKeys(at.db(), { tenant: home, person: 'gone', keyId: gone.keyId, by: 'test', reason: 'left', nowMs: Date.now() } as never); // prettier-ignore
    const foreign = await person(deps, root, 'olga', ['operator', 'admin'], `${home}-neighbour`);
    const ready = await door.ready(home, run);
    const signer: SigningKey = door.everywhere ? root : olga;

    const command = (more: Partial<Command> = {}): Command => ({
      ...{ v: 1, verb: door.verb, tenant, target: ready.target, nonce: nonce(), exp: minutes(1), reason: 'because' },
      ...{ data: ready.data ?? {}, ...more },
    });
    const signed = (c: object = command(), key = signer, type = COMMAND_PAYLOAD_TYPE): Json =>
      signEnvelope(type, commandStatement(c as Command), [key]);
    const altered = (change: (envelope: { payload: string; signatures: { keyid: string; sig: string }[] }) => object): Json =>
      ({ ...(signed() as object), ...change(signed() as never) }) as Json; // prettier-ignore
    const verbs = COMMAND_VERBS.filter((verb) => verb !== door.verb && !door.takes?.includes(verb));

    const wrong: { readonly [what: string]: Json } = {
      'no signature': altered(() => ({ signatures: [] })),
      'another’s signature': altered((e) => ({ signatures: e.signatures.map(({ keyid }) => ({ keyid, sig: (signed(command({ reason: 'other' })) as unknown as typeof e).signatures[0]?.sig })) })), // prettier-ignore
      'a payload that was changed later': altered(() => ({ payload: (signed(command({ reason: 'other' })) as never as { payload: string }).payload })), // prettier-ignore
      'forged': signed(command(), impostor(signer.publicKey, signer.keyId, signer.person)),
      'a stranger’s key': signed(command(), generateKey('olga')),
      'no operator': signed(command(), clerk),
      'a revoked key': signed(command(), gone),
      'the operator of another tenant': signed(command(), foreign),
      'for another tenant': signed(command({ tenant: `${home}-neighbour` })),
      'expired': signed(command({ exp: minutes(-1) })),
      'good for too long': signed(command({ exp: minutes(60 * 24 * 365) })),
      'signed as an approval': signed(command(), signer, APPROVAL_PAYLOAD_TYPE),
      'a field more': signed({ ...command(), more: 1 }),
      'a nonce that is none': signed(command({ nonce: 'ff' })),
      'not an envelope': 'thaw',
      'nothing': null,
      ...(door.everywhere ? { 'an operator instead of a root': signed(command({ data: {} }), olga), 'another root’s public key': signed(command({ data: { publicKey: toBase64(olga.publicKey) } }), olga) } : {}), // prettier-ignore
      ...(door.free ? {} : { 'another target': signed(command({ target: 'run:01J0000000000000000000000A' })), 'no target': signed(command({ target: '' })) }), // prettier-ignore
      ...Object.fromEntries(verbs.map((verb) => [`the verb ${verb}`, signed(command({ verb }))])),
    }; // prettier-ignore

    const changes = tables.filter((table) => table !== 'entries' && table !== 'entry_contents'); // that it was refused may be recorded
    const state = async (): Promise<string> => {
      const parts = [home, `${home}-neighbour`, '*'].map((t) => digestOfTenant(at.db(), changes, t));
      return (await Promise.all(parts)).join('\n');
    };
    const before = await state();
    for (const [what, envelope] of Object.entries(wrong)) {
      const answer = await ready.send(envelope, `${name}/${what}`).catch((error: Error) => ({ kind: `threw ${error.message}` })); // prettier-ignore
      expect(answer.kind, what).toBe('rejected');
      expect(await state(), what).toBe(before);
    }
    const valid = signed();
    const did = await ready.send(valid, `${name}/valid`);
    expect(did).toMatchObject({ kind: door.counts });
    const after = await state();
    expect(after).not.toBe(before);
    const again = await ready.send(valid, `${name}/again`);
    if (!door.answers) expect(again.kind, 'used twice').not.toBe(door.counts);
    expect(await state(), 'used twice').toBe(after);
  });
});

test('P4 every verb has a door that is tried', () => {
  expect([...new Set(DOORS.map(({ verb }) => verb))].sort()).toEqual([...COMMAND_VERBS].sort());
});
