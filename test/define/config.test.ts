import { expect, test } from 'vitest';
import { defineAgent } from '../../define/agent.ts';
import type { Options } from '../../define/check.ts';
import { defineConfig } from '../../define/config.ts';
import type { AgentOptions, ConfigOptions } from '../../define/types.ts';
import { define, read, refusal, write } from './tools.ts';

const find = define(read);
const refund = define({ ...write, requires: { orderId: 'order' } });
const twin = define({ ...read, name: 'orders_find' });
const breaker = (name: string, maxFails: number) =>
  define({ ...read, name, circuitBreaker: { name: 'payments', maxFails } });
const agent = (options: Options) => defineAgent({ name: 'desk', tools: [find], ...options } as unknown as AgentOptions);
const config = (options: Options) =>
  defineConfig({ tools: [find], agents: [], policies: './policies', ...options } as unknown as ConfigOptions);
const hex = 'aB'.repeat(32);
const price = { inputUsdPerMTok: 1, outputUsdPerMTok: 2 };
const from = (source: unknown) => ({ secrets: { from: [source] } });
const vault = { kind: 'vault', address: 'https://vault.example:8200' };
const oauth = {
  ...{ kind: 'oauth', name: 'crm/token', tokenUrl: 'https://login.example/token' },
  ...{ clientId: 'a', clientSecret: 'crm/secret' },
};
const account = (limit: unknown) => ({ budgets: { user: limit } });
const run = (limit: unknown) => ({ budgets: { run: limit } });

/** [what is promised, what breaks it, words of the refusal, the valid twin] */
type Case = readonly [string, Options, readonly string[], Options];

const agents: readonly Case[] = [
  ['a name', { name: 'Desk 1' }, ['`name`'], { name: 'desk-1' }],
  ['a model without provider', { model: 'gpt-5' }, ['`model`', 'provider/name'], { model: 'openai/gpt-5' }],
  ['an unknown option', { temperature: 1 }, ['`temperature`', 'is not an option'], {}],
  ['no turns', { maxTurns: 0 }, ['`maxTurns`'], { maxTurns: 1 }],
  ['an answer too short', { maxOutputTokens: 1 }, ['`maxOutputTokens`', 'at least 16'], { maxOutputTokens: 16 }],
  ['BU6 an unknown onExhausted', { onExhausted: 'go' }, ['`onExhausted`'], { onExhausted: 'stop' }],
  ['instructions that are no text', { instructions: 5 }, ['`instructions`'], { instructions: 'be kind' }],
  ['no tools', { tools: undefined }, ['`tools`', 'is required'], { tools: [] }],
  ['a function as a tool', { tools: [() => 1] }, ['`tools.0`', 'defineTool'], { tools: [find] }],
  ['a tool twice', { tools: [find, find] }, ['two tools named `orders.find`'], { tools: [find, refund] }],
  ['two names that become one', { tools: [find, twin] }, ['`orders.find` and `orders_find`'], { tools: [twin] }],
];

const configs: readonly Case[] = [
  ['P5 no sources of secrets', { secrets: { from: [] } }, ['`secrets.from`'], from({ kind: 'environment' })],
  ['P5 an unknown source', from({ kind: 'keychain' }), ['`secrets.from.0.kind`'], from({ kind: 'file' })],
  ['P5 a secret as a source', from('sk-0123456789abc'), ['must be a source'], from(() => Promise.resolve(undefined))],
  [
    'P5 an option of another source',
    from({ kind: 'file', mount: 'x' }),
    ['`secrets.from.0.mount`'],
    from({ kind: 'file', path: 'x' }),
  ],
  [
    'P5 Vault without TLS',
    from({ ...vault, address: 'http://vault.example' }),
    ['`secrets.from.0.address`', 'https'],
    from({ ...vault, address: 'http://127.0.0.1:8200' }),
  ],
  [
    'P5 Vault with a token in its address',
    from({ ...vault, address: 'https://t:x@vault.example' }),
    ['`secrets.from.0.address`'],
    from(vault),
  ],
  [
    'P5 a way out of the mount',
    from({ ...vault, mount: '../sys' }),
    ['`secrets.from.0.mount`'],
    from({ ...vault, mount: 'kv/team' }),
  ],
  [
    'P5 a role id where its variable belongs',
    from({ ...vault, roleIdEnv: 'a-b' }),
    ['`secrets.from.0.roleIdEnv`'],
    from({ ...vault, roleIdEnv: 'A' }),
  ],
  [
    'P5 a client secret itself',
    from({ ...oauth, clientSecret: 'Sk 01' }),
    ['`secrets.from.0.clientSecret`'],
    from(oauth),
  ],
  [
    'P5 a memory without end',
    { secrets: { cacheFor: 'ever' } },
    ['`secrets.cacheFor`'],
    { secrets: { cacheFor: '1m' } },
  ],
  ['no tools', { tools: undefined }, ['`tools`', 'is required'], { tools: [] }],
  ['no agents', { agents: undefined }, ['`agents`', 'is required'], { agents: [agent({})] }],
  ['options as an agent', { agents: [{ name: 'a' }] }, ['`agents.0`', 'defineAgent'], { agents: [agent({})] }],
  ['two agents of one name', { agents: [agent({}), agent({})] }, ['two agents named `desk`'], { agents: [agent({})] }],
  ['P7 no policies', { policies: undefined }, ['`policies`', 'is required'], { policies: 'p' }],
  ['P7 empty policies', { policies: '' }, ['`policies`', '*.cedar'], { policies: './p' }],
  [
    'P5 a private host that is none',
    { network: { privateHosts: ['http://a'] } },
    ['`network.privateHosts.0`'],
    { network: { privateHosts: ['a:1'] } },
  ],
  [
    'P5 private hosts that are no list',
    { network: { privateHosts: 'a' } },
    ['`network.privateHosts`'],
    { network: {} },
  ],
  ['an unknown option', { policy: './p' }, ['`policy`', 'is not an option'], {}],
  [
    'an agent with another tool of the same name',
    { agents: [agent({ tools: [define({ ...read, timeout: 1 })] })] },
    ['two tools named `orders.find`'],
    { agents: [agent({ tools: [find] })] },
  ],
  [
    'names that become one across agents',
    { agents: [agent({ tools: [twin] })] },
    ['both `orders_find` to a model'],
    { tools: [], agents: [agent({ tools: [twin] })] },
  ],
  [
    'D4 a fact kind that nobody proves',
    { tools: [refund] },
    ['`order`', 'no tool proves it'],
    { tools: [refund, find] },
  ],
  [
    'D6 one breaker with two options',
    { tools: [breaker('a', 1), breaker('b', 2)] },
    ['`a` and `b` share the breaker `payments`'],
    { tools: [breaker('a', 2), breaker('b', 2)] },
  ],
  [
    'BU1 a limit of zero dollars',
    run({ usd: 0 }),
    ['`budgets.run.usd`', 'a limit of 0 allows nothing'],
    run({ usd: 0.5 }),
  ],
  ['BU1 a limit of zero calls', run({ calls: 0 }), ['a limit of 0 allows nothing'], run({ calls: 1 })],
  ['BU1 a negative limit', run({ usd: -1 }), ['`-1` is negative'], run({ usd: 1 })],
  ['BU1 NaN', run({ usd: NaN }), ['`NaN` is not a finite number'], run({ usd: 1e-6 })],
  ['BU1 an infinite limit', run({ tokens: Infinity }), ['`Infinity`'], run({ tokens: 1 })],
  ['BU1 text', run({ usd: '5' }), ['must be a number', '`5`'], run({ usd: 5 })],
  ['BU1 half a token', run({ tokens: 0.5 }), ['whole number'], run({ tokens: 1 })],
  ['BU1 dollars beyond counting', run({ usd: 1e12 }), ['more than can be counted'], run({ usd: 1e6 })],
  ['BU1 less than a micro-dollar', run({ usd: 1e-7 }), ['6 decimals'], run({ usd: 1e-6 })],
  ['BU1 a limit of nothing', run({}), ['limits nothing'], run({ usd: 1, tokens: 1, calls: 1 })],
  ['BU1 an unknown unit', run({ usd: 1, eur: 1 }), ['`budgets.run.eur`'], run({ usd: 1 })],
  [
    'BU2 an account without a limit',
    account({ window: 'day' }),
    ['`budgets.user`', 'limits nothing'],
    account({ usd: 1 }),
  ],
  ['BU2 an account of zero', account({ usd: 0 }), ['`budgets.user.usd`', 'allows nothing'], account({ calls: 1 })],
  ['BU2 another currency', account({ usd: 5, eur: 5 }), ['`budgets.user.eur`'], account({ usd: 5 })],
  [
    'BU2 an unknown window',
    account({ usd: 1, window: 'year' }),
    ['`budgets.user.window`'],
    account({ usd: 1, window: 'week' }),
  ],
  [
    'BU2 a zone that does not exist',
    account({ usd: 1, window: 'day', zone: 'Europe/Atlantis' }),
    ['`budgets.user.zone`', '`Europe/Atlantis` is no time zone'],
    account({ usd: 1, window: 'day', zone: 'Europe/Berlin' }),
  ],
  [
    'BU2 an offset instead of a zone',
    account({ usd: 1, window: 'day', zone: '+01:00' }),
    ['`budgets.user.zone`', 'no IANA name'],
    account({ usd: 1, window: 'day', zone: 'UTC' }),
  ],
  [
    'BU2 a zone for ever',
    account({ usd: 1, zone: 'UTC' }),
    ['`total` has no time zone'],
    account({ usd: 1, window: 'total' }),
  ],
  [
    'BU2 two limits for one scope',
    account([{ usd: 1 }, { usd: 2 }]),
    ['a scope has one limit'],
    account({ usd: 1, calls: 2 }),
  ],
  [
    'BU2 a label that is no name',
    { budgets: { label: { 'a//b': { usd: 1 } } } },
    ['`budgets.label.a//b`', 'is empty'],
    { budgets: { label: { 'a/b': { usd: 1 } } } },
  ],
  ['BU2 no pause', { budgetWait: 0 }, ['`budgetWait`', 'longer than 0'], { budgetWait: '10s' }],
  [
    'a provider that is not configured',
    { agents: [agent({ model: 'local/m' })] },
    ['`local`', '`desk`', 'not configured'],
    {
      agents: [agent({ model: 'local/m' })],
      providers: { local: { kind: 'openai-compatible', baseUrl: 'http://localhost:1/v1' } },
    },
  ],
  [
    'a kind of provider',
    { providers: { x: { kind: 'azure' } } },
    ['`providers.x.kind`'],
    { providers: { x: { kind: 'openai' } } },
  ],
  [
    'a compatible provider without an address',
    { providers: { x: { kind: 'openai-compatible' } } },
    ['`providers.x.baseUrl`', 'is required'],
    { providers: { x: { kind: 'openai-compatible', baseUrl: 'https://x.example/v1' } } },
  ],
  [
    'P5 an address with a password',
    { providers: { x: { kind: 'openai', baseUrl: 'https://u:p@x.example' } } },
    ['`providers.x.baseUrl`', 'apiKeyEnv'],
    { providers: { x: { kind: 'openai', baseUrl: 'https://x.example' } } },
  ],
  [
    'P5 a key as the name of its variable',
    { providers: { x: { kind: 'openai', apiKeyEnv: 'sk-01-23' } } },
    ['`providers.x.apiKeyEnv`', 'not the key itself'],
    { providers: { x: { kind: 'openai', apiKeyEnv: 'X_KEY' } } },
  ],
  [
    'BU4 a price table with a gap',
    {
      prices: {
        'x/m': [
          { ...price, until: '2026-06-01' },
          { ...price, from: '2026-06-02' },
        ],
      },
    },
    ['`prices.x/m.1`', 'leaves a gap'],
    {
      prices: {
        'x/m': [
          { ...price, until: '2026-06-01' },
          { ...price, from: '2026-06-01' },
        ],
      },
    },
  ],
  [
    'BU4 a price table with an overlap',
    {
      prices: {
        'x/m': [
          { ...price, until: '2026-06-02' },
          { ...price, from: '2026-06-01' },
        ],
      },
    },
    ['`prices.x/m.1`', 'overlaps'],
    {
      prices: {
        'x/m': [
          { ...price, until: '2026-06-02' },
          { ...price, from: '2026-06-02T00:00:00Z' },
        ],
      },
    },
  ],
  [
    'BU4 a price table without an end in its middle',
    { prices: { 'x/m': [price, price] } },
    ['`prices.x/m.1`', 'overlaps'],
    { prices: { 'x/m': [price] } },
  ],
  [
    'BU4 a price that ends before it begins',
    { prices: { 'x/m': [{ ...price, from: '2026-06-02', until: '2026-06-01' }] } },
    ['`prices.x/m.0`', 'ends before it begins'],
    { prices: { 'x/m': [{ ...price, from: '2026-06-01', until: '2026-06-02' }] } },
  ],
  [
    'BU4 a price from some day',
    { prices: { 'x/m': [{ ...price, from: 'soon' }] } },
    ['`prices.x/m.0.from`', 'no date'],
    { prices: { 'x/m': [{ ...price, from: '2026-06-01' }] } },
  ],
  [
    'BU4 a negative price',
    { prices: { 'x/m': { ...price, inputUsdPerMTok: -1 } } },
    ['`prices.x/m.inputUsdPerMTok`'],
    { prices: { 'x/m': { ...price, inputUsdPerMTok: 0 } } },
  ],
  [
    'BU4 half a price',
    { prices: { 'x/m': { inputUsdPerMTok: 1 } } },
    ['outputUsdPerMTok', 'is required'],
    { prices: { 'x/m': price } },
  ],
  ['BU4 a price for no model', { prices: { m: price } }, ['`m` is not a model'], { prices: { 'x/m': price } }],
  [
    'P4 a root that is no fingerprint',
    { approvals: { roots: ['abc'] } },
    ['`approvals.roots.0`'],
    { approvals: { roots: [hex] } },
  ],
  [
    'P4 nobody may be asked',
    { approvals: { maxPerHour: 0 } },
    ['`approvals.maxPerHour`', 'from 1 to'],
    { approvals: { maxPerHour: 1 } },
  ],
  ['P4 an ask that is over at once', { approvals: { ttl: 0 } }, ['`approvals.ttl`'], { approvals: { ttl: '1h' } }],
  [
    'P4 a page without encryption',
    { approvals: { page: 'http://approve.example' } },
    ['`approvals.page.0`'],
    { approvals: { page: 'http://localhost:8400' } },
  ],
  [
    'P4 a page with a path',
    { approvals: { page: 'https://approve.example/x' } },
    ['`approvals.page.0`'],
    { approvals: { page: ['https://approve.example', 'https://old.approve.example'], rpId: 'approve.example' } },
  ],
  [
    'P4 passkeys of another domain',
    { approvals: { page: 'https://approve.example', rpId: 'evil.example' } },
    ['`approvals.rpId`'],
    { approvals: { page: 'https://approve.bank.example', rpId: 'bank.example' } },
  ],
  [
    'P4 passkeys of a whole top-level domain',
    { approvals: { page: 'https://approve.example', rpId: 'example' } },
    ['`approvals.rpId`'],
    { approvals: { page: 'https://approve.example', rpId: 'approve.example' } },
  ],
  [
    'a mail address with a second header',
    { approvals: { notify: ['a@b.c\nbcc: x@y.z'] } },
    ['`approvals.notify.0`', '\\u000a'],
    { approvals: { notify: ['a@b.c'] } },
  ],
];

test.each(agents)('CONFIG_INVALID of an agent: %s', (_title, broken, words, valid) => {
  const text = refusal(() => agent(broken));
  expect(text).toMatch(/^1 problem in agent /);
  for (const word of words) expect(text).toContain(word);
  expect(refusal(() => agent(valid))).toBe('');
});

test.each(configs)('CONFIG_INVALID of a configuration: %s', (_title, broken, words, valid) => {
  const text = refusal(() => config(broken));
  expect(text).toMatch(/^1 problem in the configuration/);
  for (const word of words) expect(text).toContain(word);
  expect(refusal(() => config(valid))).toBe('');
});

test('P5 neither a password nor a key is repeated', () => {
  const text = refusal(() =>
    config({ providers: { x: { kind: 'openai', baseUrl: 'https://u:hunter2@x.example', apiKeyEnv: 'sk-01-23' } } }),
  );
  expect(text).toContain('2 problems');
  expect(text).not.toMatch(/hunter2|sk-01/);
});

test('tools of agents join the tools of the configuration', () => {
  const made = config({ tools: [find], agents: [agent({ tools: [find, refund] })], ...run({ usd: 0.07, calls: 3 }) });
  expect(made.tools).toEqual([find, refund]);
  expect(made.runLimit).toEqual({ usdMicros: 70_000, calls: 3 });
  expect(made.approvals).toEqual({ roots: [], ttlMs: 86_400_000, notify: [], maxPerHour: 20, passkeys: null });
  expect(config({ approvals: { page: 'https://approve.example' } }).approvals.passkeys).toEqual({
    id: 'approve.example',
    origins: ['https://approve.example'],
  });
  expect(config({ approvals: { roots: [hex] } }).approvals.roots).toEqual([hex.toLowerCase()]);
});

test('what is no options object at all is CONFIG_INVALID', () => {
  for (const wrong of [undefined, null, 'x', [], 5]) {
    expect(refusal(() => defineConfig(wrong as never))).toContain('options');
    expect(refusal(() => defineAgent(wrong as never))).toContain('options');
    expect(refusal(() => define(wrong as never))).toContain('options');
  }
});
