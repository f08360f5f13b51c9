/** What a policy can look at besides arguments: tags, groups, ages, provenance, model calls. */
import { describe, expect, test } from 'vitest';
import { decideModel, MODEL_CALL } from '../../activities/policy-models.ts';
import { checkPolicies } from '../../activities/policy-check.ts';
import type { CedarRequest } from '../../activities/policy-request.ts';
import type { JsonObject } from '../../governance/json.ts';
import type { Grant } from '../../activities/grant.ts';
import { loadPolicies } from '../../activities/policy-load.ts';
import { defineTool } from '../../define/index.ts';
import { HARMLESS } from '../../governance/provenance.ts';
import type { ToolManifest } from '../../governance/tool.ts';
import { z } from 'zod';
import { agents, find, refund, request, tools } from './world.ts';

const tagged: ToolManifest = { ...refund, tags: { owner: 'payments', risk: 'high' } };
const guarded: ToolManifest = { ...refund, requires: { orderId: 'order' } };
const load = (text: string, some: readonly ToolManifest[] = [tagged, find]) =>
  loadPolicies({ files: [{ name: 'main.cedar', text }], tools: some, agents });
const problems = (text: string, some: readonly ToolManifest[] = [tagged, find]): string => {
  const checked = checkPolicies({ files: [{ name: 'main.cedar', text }], tools: some, agents });
  return 'problems' in checked ? checked.problems.map(({ problem, fix }) => `${problem}\n${fix ?? ''}`).join('\n') : '';
};
const ALL = 'permit (principal, action, resource);\n';

describe('tags of tools', () => {
  const text = `${ALL}@id("risky") forbid (principal, action, resource) when { resource.tags has risk && resource.tags.risk == "high" };`;

  test('a policy asks for a tag; a tool without it is not touched', () => {
    const engine = load(text);
    expect(engine.decide(request({ tool: tagged }))).toMatchObject({ kind: 'deny', reasons: ['risky'] });
    expect(engine.decide(request({ tool: find, args: { orderId: '1' } }))).toMatchObject({ kind: 'allow' });
  });

  test('a tag that no tool has, or a value that none has, does not load', () => {
    expect(problems(text)).toBe('');
    expect(problems(text.replace('tags.risk', 'tags.rsk').replace('has risk', 'has rsk'))).toContain('risk');
    expect(problems(text.replace('"high"', '"hihg"'))).toContain('high');
  });

  test('a tool takes tags as texts by name', () => {
    const common = {
      name: 'a.b',
      description: 'x',
      effect: 'read',
      inputSchema: z.strictObject({}),
      execute: () => 1,
    } as const;
    expect(defineTool({ ...common, tags: { owner: 'team' } }).manifest.tags).toEqual({ owner: 'team' });
    expect(() => defineTool({ ...common, tags: { 'a b': 'x' } })).toThrow('tags.a b');
    expect(() => defineTool({ ...common, tags: { owner: '' } })).toThrow('tags.owner');
  });
});

test('the model of the agent that asks: a policy allows one and not another, and an agent without a model has none', () => {
  const engine = load(
    `permit (principal, action, resource) when { context has model && context.model == "openai/gpt-5" };`,
  );
  const kind = (model?: string) =>
    engine.decide(request({ tool: tagged, ...(model === undefined ? {} : { model }) })).kind;
  expect([kind('openai/gpt-5'), kind('openai/gpt-5-mini'), kind()]).toEqual(['allow', 'deny', 'deny']);
  expect(problems('permit (principal, action, resource) when { context.model == "openai/gpt-5" };')).toContain('model');
});

test('groups: a policy names a group of the principal', () => {
  const engine = load(`permit (principal in Group::"finance", action, resource);`);
  expect(engine.decide(request({ tool: tagged, groups: ['support', 'finance'] }))).toMatchObject({ kind: 'allow' });
  expect(engine.decide(request({ tool: tagged, groups: ['support'] }))).toMatchObject({ kind: 'deny' });
  expect(engine.decide(request({ tool: tagged }))).toMatchObject({ kind: 'deny' });
});

describe('attributes of users', () => {
  const users = {
    type: 'object',
    properties: { department: { type: 'string', enum: ['finance', 'support'] }, clearance: { type: 'integer' } },
    required: ['department'],
  } as const;
  const sources = (text: string) => ({ files: [{ name: 'main.cedar', text }], tools: [tagged, find], agents, users });
  const text = `${ALL}@id("low") forbid (principal, action == Action::"payments.refund", resource)
unless { principal.department == "finance" && principal has clearance && principal.clearance >= 2 };`;
  const said = (some: string): string => {
    const checked = checkPolicies(sources(some));
    return 'problems' in checked
      ? checked.problems.map(({ problem, fix }) => `${problem}\n${fix ?? ''}`).join('\n')
      : '';
  };

  test('a policy asks for them; they stand in the entity slice that is kept', () => {
    const engine = loadPolicies(sources(text));
    const decide = (attributes: object) =>
      engine.decide(request({ tool: tagged, attributes: attributes as JsonObject }));
    const allowed = decide({ department: 'finance', clearance: 2 });
    expect(allowed).toMatchObject({ kind: 'allow' });
    const [user] = (allowed.request as unknown as CedarRequest).entities;
    expect(user).toMatchObject({ uid: { type: 'User', id: 'alice' }, attrs: { department: 'finance', clearance: 2 } });
    expect(decide({ department: 'finance' })).toMatchObject({ kind: 'deny', reasons: ['low'] });
    expect(decide({ department: 'support', clearance: 9 })).toMatchObject({ kind: 'deny', reasons: ['low'] });
  });

  test('P7 a user of whom nothing is known is no reason to allow', () => {
    const engine = loadPolicies(sources(text));
    expect(engine.decide(request({ tool: tagged }))).toMatchObject({ kind: 'deny', code: 'POLICY_ERROR' });
    expect(engine.decide(request({ tool: tagged, attributes: { department: 7 } }))).toMatchObject({
      code: 'POLICY_ERROR',
    });
  });

  test('P7 an attribute that nobody has, or a value that it never has, does not load', () => {
    expect(said(text)).toBe('');
    expect(said(text.replace('"finance"', '"finanse"'))).toContain('`principal.department` is never `finanse`');
    expect(said(text.replace('principal.department', 'principal.departement'))).toContain('departement');
    expect(said(text.replace('principal has clearance', 'principal has clearence'))).toContain(
      'did you mean `clearance`?',
    );
    expect(problems(text)).toContain('department'); // without `users` there are none
  });
});

test('FA5 the age of a fact and of the run, and where an argument came from, are there to be asked for', () => {
  const nowMs = Date.UTC(2026, 10, 22, 12);
  const fact = { kind: 'order', value: '1042', provedAtMs: nowMs - 90_000, expiresAtMs: nowMs + 1, call: 'c1' };
  const asked = (over: object) => request({ tool: guarded, nowMs, facts: [fact], ...over });
  const decide = (when: string, over: object = {}) =>
    load(`permit (principal, action == Action::"payments.refund", resource) when { ${when} };`, [guarded]).decide(
      asked(over),
    ).kind;
  expect(decide('context.proofs has orderId && context.proofs.orderId.ageMs == 90000')).toBe('allow');
  expect(decide('context.proofs has orderId && context.proofs.orderId.untrusted')).toBe('deny');
  expect(decide('context.runAgeMs == 5000', { openedAtMs: nowMs - 5_000 })).toBe('allow');
  const provenance = { ...HARMLESS, arguments: { orderId: 'internal' as const }, worst: 'internal' as const };
  expect(decide('context.provenance.worst == "internal"', { provenance })).toBe('allow');
  const own = 'context.provenance.arguments has orderId && context.provenance.arguments.orderId == "internal"';
  expect(decide(own, { provenance })).toBe('allow');
  expect(problems(`permit (principal, action, resource) when { context.provenance.worst == "trsuted" };`)).toContain(
    'trusted',
  );
});

describe('model calls', () => {
  const grant = { principal: { tenant: 'acme', user: 'alice', agent: 'refund-desk' }, openedAtMs: 0 } as Grant;
  const asked = {
    run: 'r',
    seq: 2,
    model: 'openai/gpt-5-mini',
    turn: 1,
    reserved: { usdMicros: 25_001, tokens: 100, calls: 1 },
  };
  const permit = 'permit (principal, action == Action::"model.call", resource)';
  const words = (text: string, over: object = {}) => decideModel({}, load(text), grant, { ...asked, ...over }).denial;

  test('a set that does not name them leaves them to budgets', () => {
    expect(words(ALL)).toBeNull();
    expect(words('permit (principal, action == Action::"orders.find", resource);')).toBeNull();
  });

  test('which models, and how much: cents are rounded up', () => {
    const text = `${permit} when { context.args.model == "openai/gpt-5-mini" && context.args.maxUsdCents <= 3 };`;
    expect(words(text)).toBeNull();
    expect(words(text, { reserved: { usdMicros: 30_001, tokens: 1, calls: 1 } })).toMatchObject({
      code: 'POLICY_DENIED',
    });
    expect(words(text, { model: 'openai/gpt-5' })).toMatchObject({ code: 'POLICY_DENIED', details: { reasons: [] } });
    expect(words(`${ALL}@id("no") forbid (principal, action == Action::"model.call", resource);`)).toMatchObject({
      code: 'POLICY_DENIED',
      details: { reasons: ['no'] },
    });
  });

  test('a gate on a model call denies: nobody is asked for a turn', () => {
    const gate =
      '@id("big") @gate("approval") forbid (principal, action == Action::"model.call", resource) when { context.args.maxUsdCents > 1 } unless { context.approved.contains(Gate::"big") };';
    expect(words(`${ALL}${gate}`)).toMatchObject({ code: 'POLICY_DENIED', details: { reasons: ['big'] } });
    expect(words(`${ALL}${gate}`, { reserved: { usdMicros: 10_000, tokens: 1, calls: 1 } })).toBeNull();
  });

  test('a misspelt argument does not load; a tool may not have their name', () => {
    expect(problems(`${permit} when { context.args.maxUsd > 3 };`)).toContain('maxUsd');
    expect(problems(ALL, [{ ...find, name: MODEL_CALL.name }])).toContain('model calls');
    expect(problems(ALL, tools)).toBe('');
  });
});
