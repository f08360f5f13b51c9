/** A policy set that speaks of models is asked before each call of one. */
import { expect, test } from 'vitest';
import type { PolicyEngine } from '../../activities/deps.ts';
import { type CheckedPolicies, checkPolicies } from '../../activities/policy-check.ts';
import { loadPolicies } from '../../activities/policy-load.ts';
import { repeater } from '../../activities/policy-repeat.ts';
import type { PolicyStore } from '../../activities/policy-store.ts';
import { pushPolicies } from '../../client/policies.ts';
import { recordedDecisions, type RecordedDecision } from '../../client/policy-decisions.ts';
import type { CallShared } from '../../activities/prepared.ts';
import { modelDesk } from './desk.ts';

const desk = modelDesk();
const ALL = 'permit (principal, action, resource);\n';
const NO_MODELS = '@id("no-models") forbid (principal, action == Action::"model.call", resource);';
const checked = (text: string): CheckedPolicies => {
  const found = checkPolicies({ files: [{ name: 'main.cedar', text }], tools: [], agents: ['desk'] });
  if ('problems' in found) throw new Error(JSON.stringify(found.problems));
  return found;
};

/** The desk's worker under other policies. */
function under(text: string): void {
  const tools = desk.shared.deps.config.tools.map(({ manifest }) => manifest);
  const agents = desk.shared.deps.config.agents.map(({ name }) => name);
  const engine = loadPolicies({ files: [{ name: 'main.cedar', text }], tools, agents });
  (desk.shared as { deps: CallShared['deps'] }).deps = { ...desk.shared.deps, policy: () => engine };
}

test('P1 P7 a model that no policy permits is not called, and the entry says why', async () => {
  under(
    '@id("other") permit (principal, action == Action::"model.call", resource) when { context.args.model == "x/y" };',
  );
  const run = await desk.open();
  expect(await run.ask()).toMatchObject({ kind: 'denied', denial: { code: 'POLICY_DENIED' } });
  expect(desk.provider.seen).toEqual([]);
  expect((await desk.entries(run.run)).map(({ kind }) => kind)).toEqual(['run.opened', 'call.denied']);
});

test('P1 a permitted model call keeps its decision', async () => {
  under(
    '@id("models") permit (principal, action == Action::"model.call", resource) when { context.args.provider == "openai" };',
  );
  const run = await desk.open();
  expect(await run.ask()).toMatchObject({ kind: 'done' });
  const started = (await desk.entries(run.run)).find(({ kind }) => kind === 'call.started');
  expect(started?.data).toMatchObject({ decision: 'allow', reasons: ['models'] });
  const recorded: RecordedDecision[] = [];
  for await (const decision of recordedDecisions(desk.database.db, { run: run.run })) recorded.push(decision);
  expect(recorded).toMatchObject([{ was: 'allow', tool: 'openai/gpt-4o', reasons: ['models'], holds: true }]);
  const replayed = (text: string) => repeater(checked(text))(recorded[0]?.request ?? {});
  expect(replayed(ALL)).toEqual({ kind: 'allow', reasons: [] }); // left to budgets
  expect(replayed(ALL + NO_MODELS)).toEqual({ kind: 'deny', reasons: ['no-models'] });
  expect(recorded[0]?.request).toMatchObject({ action: { id: 'model.call' }, context: { args: { turn: 1 } } });
});

test('P7 a model call that was decided under a set which was replaced meanwhile is decided again, and starts nothing', async () => {
  const { deps } = desk.shared;
  const engine = (text: string) => loadPolicies({ files: [{ name: 'main.cedar', text }], tools: [], agents: ['desk'] });
  const [before, after] = [engine(`${ALL}// the files`), engine(ALL + NO_MODELS)];
  const run = await desk.open();
  // what is active in the database is known to the worker only once it looks
  let known: PolicyEngine = before;
  const looks = { refresh: () => Promise.resolve((known = Object.assign(Object.create(after) as PolicyEngine, { activated: true }))) }; // prettier-ignore
  const own = {
    ...deps,
    policy: () => known,
    policySets: { ...looks, shadow: () => undefined } as unknown as PolicyStore,
  };
  (desk.shared as { deps: CallShared['deps'] }).deps = own;
  await pushPolicies(deps.db, { digest: after.digest, files: [{ name: 'main.cedar', text: ALL + NO_MODELS }] }, 'test');
  const sql = (text: string, ...values: unknown[]) => deps.db.query(text, values);
  await sql(`with a as (insert into actguard.policy_activations (tenant, role, digest, people, evidence, reason)
    values ('acme', 'enforced', $1, '{}', '[]', '') returning *)
    insert into actguard.active_policies select tenant, role, digest, id from a`, after.digest); // prettier-ignore
  expect(await run.ask()).toMatchObject({ kind: 'denied', denial: { details: { reasons: ['no-models'] } } });
  expect(desk.provider.seen).toEqual([]);
  await sql('delete from actguard.active_policies');
  known = before;
  expect(await run.ask({ call: 'c2', seq: 2 })).toMatchObject({ kind: 'done' });
});

test('a shadow set speaks of model calls, too, and enforces nothing', async () => {
  const shadow = loadPolicies({ files: [{ name: 'main.cedar', text: ALL + NO_MODELS }], tools: [], agents: ['desk'] });
  under(ALL);
  const { deps } = desk.shared;
  const policySets = { shadow: () => shadow } as unknown as PolicyStore;
  (desk.shared as { deps: CallShared['deps'] }).deps = { ...deps, policySets };
  const run = await desk.open();
  expect(await run.ask()).toMatchObject({ kind: 'done' });
  const started = (await desk.entries(run.run)).find(({ kind }) => kind === 'call.started');
  expect(started?.data['shadow']).toEqual({ policy: shadow.digest, decision: 'deny', reasons: ['no-models'] });
});
