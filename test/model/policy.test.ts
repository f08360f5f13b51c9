/** A policy set that speaks of models is asked before each call of one. */
import { expect, test } from 'vitest';
import { loadPolicies } from '../../activities/policy-load.ts';
import type { CallShared } from '../../activities/prepared.ts';
import { modelDesk } from './desk.ts';

const desk = modelDesk();

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
  expect(started?.data).toMatchObject({ reasons: ['models'] });
});
