import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { changePolicies } from '../../activities/policy-activate.ts';
import type { PolicyInput, PolicyResult } from '../../activities/request-types.ts';
import { listPolicies, makeActivation, pushPolicies } from '../../client/policies.ts';
import { generateKey, signEnvelope, type SigningKey } from '../../client/keys.ts';
import { defineTool } from '../../define/index.ts';
import { commandStatement } from '../../governance/command.ts';
import { COMMAND_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import type { Json } from '../../governance/json.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import { recordAnswer } from '../../activities/approvals.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { ask, askInput, gate as gateOf, impostor, openRun, person } from '../approvals/fixture.ts';
import { desk, type TestWorker } from '../support/calls.ts';

import { loadPolicies } from '../../activities/policy-load.ts';

const pay = defineTool({
  name: 'pay',
  description: 'Pay',
  effect: 'write',
  inputSchema: z.strictObject({ n: z.int() }),
  execute: () => ({ ok: true }),
});
const ALL = '@id("all") permit (principal, action, resource);\n';
const SMALL = '@id("small") permit (principal, action, resource) when { context.args.n < 100000 };\n';
const NEVER = `${ALL}@id("never") forbid (principal, action == Action::"pay", resource) when { context.args.n > 0 };\n`;
const gate = (id: string, notes = ''): string =>
  `@id("${id}") @gate("approval") ${notes}\nforbid (principal, action, resource) when { context.args.n > 10 } unless { context.approved.contains(Gate::"${id}") };\n`;
const world = desk();
const root = generateKey('');
let n = 0;
let tenants = 0;

interface Place {
  readonly worker: TestWorker;
  readonly tenant: string;
  push(text: string): Promise<string>;
  activate(digest: string | null, key: SigningKey, more?: object): Promise<PolicyResult>;
  send(envelope: unknown, delivery?: string): Promise<PolicyResult>;
  person(name: string, roles?: readonly string[]): Promise<SigningKey>;
  call(): Promise<string>;
}

/** A tenant of a test's own and a worker whose files are `files`. */
async function place(files = ALL): Promise<Place> {
  const worker = world.worker([pay], { policies: files, roots: [root.keyId] });
  const { deps } = worker.shared;
  const store = deps.policySets;
  if (!store) throw new Error('the worker has no store');
  const tenant = `t${++tenants}`;
  const run = await worker.run({ tenant });
  const at: Place = {
    worker,
    tenant,
    async push(text) {
      const file = [{ name: 'main.cedar', text }];
      const { digest } = loadPolicies({ files: file, tools: [pay.manifest], agents: ['desk', 'other'] });
      await pushPolicies(deps.db, { digest, files: file }, 'test');
      return digest;
    },
    async activate(digest, key, more = {}) {
      const listed = await listPolicies(deps.db, tenant);
      const replaces = listed.activations.find((a) => a.tenant === tenant && a.role === 'enforced')?.digest ?? null;
      return at.send(
        makeActivation({ role: 'enforced', digest }, { tenant, replaces, reason: 'test', ...more }, key, Date.now()),
      );
    },
    send: (envelope, delivery) =>
      changePolicies(
        deps,
        store,
        { v: 1, kind: 'policies', nonce: (++n).toString(16).padStart(32, '0'), envelope } as PolicyInput,
        delivery,
      ),
    person: (name, roles = ['operator']) => person(deps, root, name, roles, tenant),
    async call() {
      const result = await run.call('pay', { n: ++n });
      return result.kind === 'denied' ? result.denial.code : result.kind;
    },
  };
  return at;
}

describe('P7 an activated set decides in its tenant at once, on every worker', () => {
  test('P7 a set activated elsewhere holds at the next claim of a worker that did not hear of it', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const other = world.worker([pay], { policies: ALL, roots: [root.keyId] });
    const elsewhere = await other.run({ tenant: here.tenant });
    const stranger = await other.run({ tenant: `${here.tenant}-neighbour` });
    expect((await elsewhere.call('pay', { n: ++n })).kind).toBe('done');
    const never = await here.push(NEVER);
    expect(await here.activate(never, olga)).toMatchObject({ kind: 'active', by: ['olga'], loosens: [] });
    const denied = await elsewhere.call('pay', { n: ++n });
    expect(denied).toMatchObject({
      kind: 'denied',
      denial: { code: 'POLICY_DENIED', details: { reasons: ['never'] } },
    });
    expect((await stranger.call('pay', { n: ++n })).kind).toBe('done');
    // and back: what the worker refuses needs no claim, it looks every few seconds
    expect(await here.activate(null, olga)).toMatchObject({ kind: 'active', digest: null });
    await other.shared.deps.policySets?.poll();
    expect((await elsewhere.call('pay', { n: ++n })).kind).toBe('done');
  });

  test('P7 a claim that was decided under the old set waits for the activation and is decided again', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const never = await here.push(NEVER);
    const claimer = new pg.Client({ connectionString: world.url() });
    await claimer.connect();
    try {
      await claimer.query('begin');
      await claimer.query(`select pg_advisory_xact_lock(hashtextextended('actguard:control:${here.tenant}', 0))`);
      const call = here.call(); // decided under the files; its claim waits
      const waiting = async (): Promise<boolean> =>
        (await world.db().query(`select 1 from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and l.locktype = 'advisory' and not l.granted`)).length > 0; // prettier-ignore
      while (!(await waiting())) await new Promise((resolve) => setTimeout(resolve, 5));
      await claimer.query(`insert into actguard.policy_activations (tenant, role, digest, people, evidence, reason)
        select $1, 'enforced', $2, '{}', '[]', '' `, [here.tenant, never]); // prettier-ignore
      await claimer.query(`insert into actguard.active_policies select tenant, role, digest, id from actguard.policy_activations where tenant = $1`, [here.tenant]); // prettier-ignore
      await claimer.query('commit');
      // nobody signed it: a row in the database activates nothing, it only denies
      expect(await call).toBe('POLICY_ERROR');
    } finally {
      await claimer.end();
    }
    await world.db().query('delete from actguard.active_policies where tenant = $1', [here.tenant]);
    await here.worker.shared.deps.policySets?.refresh();
    expect(await here.activate(never, olga)).toMatchObject({ kind: 'rejected' }); // its history says otherwise
  });

  test('P7 texts that were changed in the database deny everything', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const set = await here.push(
      `${NEVER}// ${here.tenant}\n@id("x${here.tenant}") forbid (principal, action, resource) when { context.args.n > 99 };`,
    );
    expect(await here.activate(set, olga)).toMatchObject({ kind: 'active' });
    await world.db().query(`update actguard.policy_sets set files = $2 where digest = $1`, [set, JSON.stringify([{ name: 'main.cedar', text: ALL }])]); // prettier-ignore
    const fresh = world.worker([pay], { policies: ALL, roots: [root.keyId] });
    const run = await fresh.run({ tenant: here.tenant });
    expect(await run.call('pay', { n: ++n })).toMatchObject({ kind: 'denied', denial: { code: 'POLICY_ERROR' } });
    await expect(
      fresh.shared.deps.policySets?.begin([{ name: 'main.cedar', text: ALL }], 'test'),
    ).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('were changed in the database') as string,
    });
  });

  test('P7 a set that is active stays so when a tool joins that brings generated gates; a gate of its own text moves its digest', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const never = await here.push(NEVER);
    await here.activate(never, olga);
    const mail = defineTool({
      name: 'mail',
      description: 'Mail',
      effect: 'write',
      inputSchema: z.strictObject({ to: z.email() }),
      execute: () => ({ ok: true }),
    });
    const more = world.worker([pay, mail], { policies: ALL, roots: [root.keyId] });
    await more.shared.deps.policySets?.refresh();
    const set = more.shared.deps.policy(here.tenant);
    expect(set).toMatchObject({ digest: never, activated: true });
    expect(set.gate('builtin.untrusted.mail')).toBeDefined();
    const run = await more.run({ tenant: here.tenant });
    expect(await run.call('pay', { n: ++n })).toMatchObject({
      denial: { code: 'POLICY_DENIED', details: { reasons: ['never'] } },
    });
    expect(await here.push(NEVER.replace('> 0', '> 1'))).not.toBe(never);
  });

  test('a tenant has its own set before that of every tenant, which a root activates', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const never = await here.push(NEVER);
    const all = await here.push(ALL);
    const everywhere = (digest: string | null, replaces: string | null) =>
      here.send(
        makeActivation({ role: 'enforced', digest }, { tenant: '*', replaces, reason: 'all' }, root, Date.now()),
      );
    expect(await everywhere(never, null)).toMatchObject({ kind: 'active', tenant: '*' });
    expect(await here.call()).toBe('POLICY_DENIED');
    expect(await here.activate(all, olga)).toMatchObject({ kind: 'active' });
    expect(await here.call()).toBe('done');
    expect(await here.activate(null, olga)).toMatchObject({ kind: 'active' });
    expect(await here.call()).toBe('POLICY_DENIED');
    expect(await everywhere(null, never)).toMatchObject({ kind: 'active' });
    expect(await here.call()).toBe('done');
  });
});

describe('P4 activation is a signed command, used once', () => {
  test.each<[string, (at: Place, digest: string, olga: SigningKey) => Promise<unknown>, RegExp]>([
    ['no operator', async (at, d) => envelopeOf(at, d, await at.person('clerk', ['finance'])), /neither operator nor/],
    ['an unknown key', (at, d) => Promise.resolve(envelopeOf(at, d, generateKey('olga'))), /unknown/],
    [
      'forged',
      (at, d, olga) => Promise.resolve(envelopeOf(at, d, impostor(olga.publicKey, olga.keyId, 'olga'))),
      /verify/,
    ],
    [
      'another tenant',
      (at, d, olga) => Promise.resolve(envelopeOf({ ...at, tenant: 'elsewhere' }, d, olga)),
      /unknown/,
    ],
    [
      'every tenant by an operator',
      (at, d, olga) => Promise.resolve(envelopeOf({ ...at, tenant: '*' }, d, olga)),
      /unknown/,
    ],
    [
      'a set that is not there',
      (at, _d, olga) => Promise.resolve(envelopeOf(at, 'ab'.repeat(32), olga)),
      /no policy set/,
    ],
    [
      'replaces something else',
      (at, d, olga) => Promise.resolve(envelopeOf(at, d, olga, d)),
      /something else is active/,
    ],
    [
      'a thaw',
      (at, _d, olga) => Promise.resolve(signed({ verb: 'thaw', tenant: at.tenant, target: 'tool:pay' }, olga)),
      /activates nothing/,
    ],
    [
      'a target that is none',
      (at, _d, olga) =>
        Promise.resolve(signed({ tenant: at.tenant, target: 'policies:all', data: { replaces: null } }, olga)),
      /no policy set/,
    ],
    [
      'nothing it replaces',
      (at, d, olga) => Promise.resolve(signed({ tenant: at.tenant, target: `policies:${d}` }, olga)),
      /what it replaces/,
    ],
    ['not an envelope', () => Promise.resolve([]), /./],
    ['too large', () => Promise.resolve({ payload: 'x'.repeat(20_000) }), /too large/],
  ])('P4 does not activate: %s; its twin does', async (_name, make, reason) => {
    const here = await place();
    const olga = await here.person('olga');
    const never = await here.push(NEVER);
    expect(await here.send(await make(here, never, olga))).toMatchObject({
      kind: 'rejected',
      reason: expect.stringMatching(reason) as string,
    });
    expect(await here.call()).toBe('done');
    expect(await here.send(envelopeOf(here, never, olga))).toMatchObject({ kind: 'active' });
    expect(await here.call()).toBe('POLICY_DENIED');
  });

  test('P4 a retry of its delivery is the same use, a replay activates nothing again', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const never = await here.push(NEVER);
    const envelope = envelopeOf(here, never, olga);
    expect(await here.send(envelope, 'd1')).toMatchObject({ kind: 'active' });
    expect(await here.send(envelope, 'd1')).toMatchObject({ kind: 'active' });
    expect(await here.activate(null, olga)).toMatchObject({ kind: 'active' });
    expect(await here.send(envelope, 'd2')).toMatchObject({ kind: 'rejected', reason: 'the command was used already' });
    expect(await here.call()).toBe('done');
    const { activations } = await listPolicies(world.db(), here.tenant);
    expect(activations.filter((a) => a.tenant === here.tenant)).toMatchObject([
      { digest: null, replaced: never, people: ['olga'], reason: 'test' },
      { digest: never, replaced: null, people: ['olga'], reason: 'test', active: false },
    ]);
  });

  test('P7 a set that does not fit the tools is refused with the policies that do not', async () => {
    const here = await place();
    const olga = await here.person('olga');
    const text = `${ALL}forbid (principal, action == Action::"transfer", resource);`;
    const file = [{ name: 'main.cedar', text }];
    const transfer = defineTool({ name: 'transfer', description: 'x', effect: 'write', inputSchema: z.strictObject({}), execute: () => ({}) }); // prettier-ignore
    const { digest } = loadPolicies({ files: file, tools: [pay.manifest, transfer.manifest], agents: [] });
    await pushPolicies(world.db(), { digest, files: file }, 'test');
    expect(await here.activate(digest, olga)).toMatchObject({
      kind: 'rejected',
      reason: expect.stringContaining('main.cedar:2:') as string,
    });
    expect(await here.call()).toBe('done');
  });
});

describe('P4 a set that loosens waits for a second person where there are two', () => {
  test.each<[string, string, string, RegExp]>([
    ['drops a gate', ALL + gate('g'), ALL, /drops the gate `g`/],
    ['changes a gate', ALL + gate('g'), ALL + gate('g').replace('> 10', '> 11'), /changes the gate `g`/],
    ['asks fewer people', ALL + gate('g', '@quorum("2")'), ALL + gate('g'), /asks 1 instead of 2/],
    ['lets others answer', ALL + gate('g', '@roles("cfo")'), ALL + gate('g', '@roles("cfo,clerk")'), /`clerk`/],
    ['adds a permit', SMALL, SMALL + ALL, /adds the permit `all`/],
    ['drops a forbid', NEVER, ALL, /drops the forbid `never`/],
  ])('P4 %s', async (_name, before, after, why) => {
    const here = await place(before);
    const olga = await here.person('olga');
    const otto = await here.person('otto');
    const digest = await here.push(after);
    const first = await here.activate(digest, olga);
    expect(first).toMatchObject({ kind: 'proposed', by: 'olga', loosens: [expect.stringMatching(why)] });
    expect(here.worker.shared.deps.policy(here.tenant).activated).toBeUndefined();
    expect(await here.activate(digest, olga)).toMatchObject({ kind: 'proposed' }); // twice one person is one
    expect((await listPolicies(world.db(), here.tenant)).proposals).toMatchObject([{ digest, person: 'olga' }]);
    expect(await here.activate(digest, otto)).toMatchObject({ kind: 'active', by: ['otto', 'olga'] });
    expect(here.worker.shared.deps.policy(here.tenant)).toMatchObject({ activated: true, digest });
  });

  test.each<[string, string, string]>([
    ['adds a gate', ALL, ALL + gate('g')],
    ['asks more people', ALL + gate('g'), ALL + gate('g', '@quorum("2")')],
    ['drops a permit', SMALL + ALL, SMALL],
    [
      'only says it otherwise',
      ALL,
      '@id("renamed") @description("all of it")\npermit (principal, action, resource); // x\n',
    ],
  ])('one person is enough: %s', async (_name, before, after) => {
    const here = await place(before);
    const olga = await here.person('olga');
    await here.person('otto');
    expect(await here.activate(await here.push(after), olga)).toMatchObject({
      kind: 'active',
      by: ['olga'],
      loosens: [],
    });
  });

  test('P4 where there is one person it is enough; a second without a role counts for nothing', async () => {
    const here = await place(ALL + gate('g'));
    const olga = await here.person('olga');
    await here.person('clerk', ['finance']);
    expect(await here.activate(await here.push(ALL), olga)).toMatchObject({ kind: 'active', by: ['olga'] });
  });
});

describe('P4 nobody approves under a policy they activated', () => {
  async function asked(here: Place): Promise<ApprovalRequest> {
    const { deps } = here.worker.shared;
    return ask(deps, askInput(await openRun(deps.db, here.tenant), 'c1', [gateOf('over-100')], here.tenant));
  }
  function answer(here: Place, request: ApprovalRequest, key: SigningKey, decision: 'approve' | 'reject' = 'approve') {
    const { envelope } = makeAnswer(request, decision, key, Date.now());
    const { run, approvalId } = request;
    return recordAnswer(here.worker.shared.deps, { v: 1, run, entries: [], approvalId, envelope });
  }

  test('P4 their yes does not count, their no does; another person may', async () => {
    const here = await place();
    const olga = await here.person('olga', ['operator', 'finance']);
    const fin = await here.person('fin', ['finance']);
    await here.activate(await here.push(SMALL), olga);
    const request = await asked(here);
    expect(await answer(here, request, olga)).toEqual({
      kind: 'rejected',
      reason: 'nobody approves under a policy they activated',
    });
    expect(await answer(here, request, fin)).toMatchObject({ kind: 'accepted', complete: true });
    expect(await answer(here, await asked(here), olga, 'reject')).toMatchObject({ kind: 'accepted', complete: true });
  });

  test('P4 nor a yes that they gave before they activated it', async () => {
    const here = await place();
    const olga = await here.person('olga', ['operator', 'finance']);
    const consume = async ({ approvalId, run }: ApprovalRequest): Promise<unknown> =>
      (await world.db().query<{ r: string }>('select actguard.consume_approval($1, $2, $3, $4) as r', [approvalId, run, 'c1', 'e']))[0]?.r; // prettier-ignore
    const request = await asked(here);
    expect(await answer(here, request, olga)).toMatchObject({ kind: 'accepted', complete: true });
    await here.activate(await here.push(SMALL), olga);
    expect(await consume(request)).toBe('lapsed');
    await here.activate(null, olga);
    expect(await consume(request)).toBe('ok');
  });
});

function envelopeOf(at: Pick<Place, 'tenant'>, digest: string, key: SigningKey, replaces: string | null = null): Json {
  return makeActivation({ role: 'enforced', digest }, { tenant: at.tenant, replaces, reason: 'test' }, key, Date.now());
}

function signed(command: object, key: SigningKey): Json {
  const payload = { v: 1, verb: 'activatePolicies', nonce: (++n).toString(16).padStart(32, 'a'), exp: new Date(Date.now() + 60_000).toISOString(), reason: 'x', data: {}, ...command }; // prettier-ignore
  return signEnvelope(COMMAND_PAYLOAD_TYPE, commandStatement(payload as never), [key]);
}
