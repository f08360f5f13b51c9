/** Where a credential goes and where it does not: hosts, methods, paths, places, addresses; what an entry says of it. */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { isPublicAddress } from '../../activities/addresses.ts';
import { guardedFetch, nothingLeft, type Traffic } from '../../activities/guarded-fetch.ts';
import { networkOf, type Resolve } from '../../activities/network.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { defineTool, secret } from '../../define/index.ts';
import type { SecretOptions, ToolContext } from '../../define/index.ts';
import { desk } from '../support/calls.ts';

const VALUE = 'sk-injected-0123456789';
const seen: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[] = [];
let status = 200;
let location: string | undefined;
let server: Server;
let port = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
      response.writeHead(status, location === undefined ? {} : { location }).end('{}');
    });
  }).listen(0);
  await new Promise((resolve) => server.once('listening', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen.length = 0;
  status = 200;
  location = undefined;
});

interface Setup extends SecretOptions {
  readonly dev?: boolean;
  readonly privateHosts?: readonly string[];
  readonly resolve?: Resolve;
  readonly value?: string;
}

function fetcher({ dev = true, privateHosts = [], resolve, value = VALUE, ...options }: Setup) {
  const traffic: Traffic = { sent: 0, neverLeft: 0, lastStatus: null, answered: 0, uses: [] };
  const ref = secret('bank/key', options);
  const fetch = guardedFetch({
    network: networkOf({ tools: [], network: { privateHosts } }, dev, resolve),
    known: new SecretSet(),
    credentials: [{ localName: 'bank', ref, value }],
    keyHeader: null,
    signal: new AbortController().signal,
    notAfter: () => Infinity,
    traffic,
  });
  return { fetch, traffic };
}

const here = (): string => `127.0.0.1:${port}`;

describe('places', () => {
  test('a header, with its format', async () => {
    const { fetch, traffic } = fetcher({ host: here(), header: 'x-key', format: 'Key {}' });
    await fetch(`http://${here()}/a`);
    expect(seen[0]?.headers['x-key']).toBe(`Key ${VALUE}`);
    expect(traffic.uses).toEqual([{ name: 'bank/key', host: here(), method: 'GET' }]);
  });

  test('a query parameter, and the answer does not show it', async () => {
    const response = await fetcher({ host: here(), query: 'key' }).fetch(`http://${here()}/a?b=1`);
    expect(seen[0]?.url).toBe(`/a?b=1&key=${VALUE}`);
    expect(response.url).toBe(`http://${here()}/a?b=1`);
  });

  test('basic authentication: the secret is the password', async () => {
    await fetcher({ host: here(), basic: 'shop' }).fetch(`http://${here()}/a`);
    expect(seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from(`shop:${VALUE}`).toString('base64')}`);
  });

  test('a field of a JSON body or of a form; another body is refused and nothing is sent', async () => {
    const { fetch, traffic } = fetcher({ host: here(), body: 'api_key' });
    const post = (body: string | URLSearchParams) => fetch(`http://${here()}/a`, { method: 'POST', body });
    await post('{"a":1}');
    await post(new URLSearchParams({ a: '1' }));
    expect(seen.map((s) => s.body)).toEqual([`{"a":1,"api_key":"${VALUE}"}`, `a=1&api_key=${VALUE}`]);
    await expect(post('just text')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(traffic.sent).toBe(2);
  });

  test('a value with a line end is refused by its name, not shown, and nothing is sent', async () => {
    const { fetch, traffic } = fetcher({ host: here(), value: 'abcdefghijkl\r\nx: y' });
    const error = await fetch(`http://${here()}/a`).catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    expect((error as Error).message).not.toContain('abcdefghijkl');
    expect(traffic.sent).toBe(0);
  });
});

describe('bindings', () => {
  const cases: readonly (readonly [string, string, string, string, string])[] = [
    // what, method and path that get it, method and path that do not
    ['another method', 'POST', '/v1/refunds', 'GET', '/v1/refunds'],
    ['another path', 'POST', '/v1/refunds/7', 'POST', '/v1/payouts'],
    ['a path that begins alike', 'POST', '/v1/refunds?x=1', 'POST', '/v1/refunds-all'],
    ['a way out of the path', 'POST', '/v1/x/../refunds', 'POST', '/v1/refunds/../payouts'],
    ['an encoded way out', 'POST', '/v1/refunds/a', 'POST', '/v1/refunds/..%2f..%2fpayouts'],
    ['a backslash', 'POST', '/v1/refunds/', 'POST', '/v1/refunds\\..\\payouts'],
    ['an encoded dot', 'POST', '/v1/refunds/a.b', 'POST', '/v1/refunds/%2e%2e/payouts'],
    ['twice encoded', 'POST', '/v1/refunds/a%20b', 'POST', '/v1/refunds/%252e%252e/payouts'],
    ['empty segments', 'POST', '/v1/refunds/a', 'POST', '/v1/refunds//a'],
  ];
  test.each(cases)('P5 not with %s', async (_what, method, path, otherMethod, otherPath) => {
    const { fetch, traffic } = fetcher({ host: here(), methods: ['post'], path: '/v1/refunds' });
    await fetch(`http://${here()}${otherPath}`, { method: otherMethod });
    expect(seen[0]?.headers.authorization).toBeUndefined();
    expect(traffic.uses).toEqual([]);
    await fetch(`http://${here()}${path}`, { method });
    expect(seen[1]?.headers.authorization).toBe(`Bearer ${VALUE}`);
    expect(traffic.uses).toHaveLength(1);
  });

  test('P5 not to another port of the host, and with a host of its own choosing neither', async () => {
    const { fetch } = fetcher({ host: '127.0.0.1:1' });
    await fetch(`http://${here()}/`);
    expect(seen[0]?.headers.authorization).toBeUndefined();
    await fetcher({ host: here() }).fetch(`http://${here()}/`, { headers: { host: 'evil.example' } });
    expect(seen[1]?.headers).toMatchObject({ host: here(), authorization: `Bearer ${VALUE}` });
  });

  test('P5 a host in capitals is the same host and gets it; one with a trailing dot or a user is refused, unsent', async () => {
    const resolve: Resolve = (_name, answer) => answer(null, [{ address: '127.0.0.1', family: 4 }]);
    const { fetch } = fetcher({ host: `localhost:${port}`, resolve });
    await fetch(`http://LOCALHOST:${port}/`);
    expect(seen[0]?.headers).toMatchObject({ host: `localhost:${port}`, authorization: `Bearer ${VALUE}` });
    seen.length = 0;
    for (const place of [`localhost.:${port}`, `bob@localhost:${port}`, `localhost:${port}@evil.example`]) {
      await expect(fetch(`http://${place}/`)).rejects.toMatchObject({ code: 'HOST_FORBIDDEN' });
    }
    expect(seen).toEqual([]);
  });

  test('P5 a redirect is not followed, to wherever it leads; what was sent stays known', async () => {
    for (const to of ['https://evil.example/', `http://localhost:${port}/b`, '/b']) {
      [status, location] = [302, to];
      seen.length = 0;
      const { fetch, traffic } = fetcher({ host: here() });
      await expect(fetch(`http://${here()}/a`)).rejects.toMatchObject({ code: 'HOST_FORBIDDEN' });
      expect(seen).toHaveLength(1);
      expect(nothingLeft(traffic)).toBe(false);
    }
    [status, location] = [200, undefined];
    await expect(fetcher({ host: here() }).fetch(`http://${here()}/a`)).resolves.toMatchObject({ status: 200 });
  });
});

describe('addresses', () => {
  const refused = [
    'http://payments.example/',
    'ftp://payments.example/',
    'https://payments.example./',
    'https://PAYMENTS.example.:443/',
    'https://user@payments.example/',
    'https://payments.example:x/',
    'https://payments.example@evil.example/',
    'https://10.0.0.7/',
    'https://0xa.7/',
    'https://167772167/',
    'https://169.254.169.254/latest/meta-data/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[fd00::1]/',
    'https://[fe80::1]/',
    'https://[64:ff9b::a00:7]/',
    'https://0/',
    'file:///etc/passwd',
    'payments.example',
  ];
  test.each(refused)('HOST_FORBIDDEN outside of a dev stack: %s', async (url) => {
    const { fetch, traffic } = fetcher({ host: 'payments.example', dev: false });
    await expect(fetch(url)).rejects.toMatchObject({ code: 'HOST_FORBIDDEN' });
    expect(traffic.sent).toBe(0);
  });

  const fine: readonly (readonly [string, string])[] = [
    ['https://PAYMENTS.Example:443/x', 'payments.example'],
    ['https://xn--pyments-2fg.example/', 'xn--pyments-2fg.example'],
    ['https://p\u0430yments.example/', 'xn--pyments-2fg.example'],
    ['https://93.184.215.14/', '93.184.215.14'],
    ['https://[2606:4700::1111]:8443/', '[2606:4700::1111]:8443'],
    ['https://10.0.0.8/', '10.0.0.8'],
    ['https://[fd00::8]:8443/', '[fd00::8]:8443'],
  ];
  test.each(fine)('taken outside of a dev stack: %s', (url, host) => {
    const network = networkOf({ tools: [], network: { privateHosts: ['10.0.0.8', '[fd00::8]:8443'] } }, false);
    expect(network.url(url).host).toBe(host);
  });

  test('P5 a look-alike name is another host', async () => {
    const { traffic } = fetcher({ host: 'payments.example' });
    const network = networkOf({ tools: [], network: { privateHosts: [] } }, false);
    expect(network.url('https://p\u0430yments.example/').host).not.toBe('payments.example');
    expect(traffic.uses).toEqual([]);
  });

  const answers =
    (...found: string[]): Resolve =>
    (_name, answer) =>
      answer(
        null,
        found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );

  test('P5 a name is resolved once and its private addresses are refused; nothing left the machine', async () => {
    for (const found of [['127.0.0.1'], ['93.184.215.14', '10.0.0.1'], ['::ffff:10.0.0.1'], ['fe80::1'], ['::1']]) {
      const { fetch, traffic } = fetcher({ host: 'a.example', dev: false, resolve: answers(...found) });
      await expect(fetch('https://a.example/')).rejects.toMatchObject({ code: 'HOST_FORBIDDEN' });
      expect(nothingLeft(traffic)).toBe(true);
    }
    expect(seen).toEqual([]);
  });

  test('P5 the address that was judged is the one that is connected to', async () => {
    const names: string[] = [];
    const rebinding: Resolve = (name, answer) =>
      answers(names.push(name) === 1 ? '127.0.0.1' : '10.255.255.1')(name, answer);
    const { fetch } = fetcher({ host: `localhost:${port}`, resolve: rebinding });
    await fetch(`http://localhost:${port}/`);
    expect(names).toEqual(['localhost']);
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${VALUE}`);
  });

  test('a private name is reached where it is listed, with its port', async () => {
    const resolve = answers('127.0.0.1');
    const listed = fetcher({ host: 'b.example', dev: false, resolve, privateHosts: [`a.example:${port}`] });
    const error = await listed.fetch(`https://a.example:${port}/`).catch((e: unknown) => e);
    expect(error).toMatchObject({ cause: { code: expect.stringMatching(/SSL|EPROTO/) as string } }); // it was reached
    await expect(listed.fetch('https://a.example/')).rejects.toMatchObject({ code: 'HOST_FORBIDDEN' });
  });

  test('what the registries keep for other uses is private', () => {
    for (const address of [
      '100.64.0.1',
      '192.0.2.1',
      '224.0.0.1',
      '255.255.255.255',
      '2002:a00:1::',
      '2001:db8::1',
      'x',
    ])
      expect([address, isPublicAddress(address)]).toEqual([address, false]);
    for (const address of ['100.63.0.1', '172.32.0.1', '8.8.8.8', '2606:4700::1111'])
      expect([address, isPublicAddress(address)]).toEqual([address, true]);
  });
});

describe('in the ledger', () => {
  const { worker, db } = desk();
  const environment = { BANK_KEY: VALUE };
  const tool = (options: object, execute: (ctx: ToolContext) => Promise<unknown>) =>
    defineTool({
      name: 'pay',
      description: 'Pay somebody',
      effect: 'write',
      repeatable: true,
      inputSchema: z.strictObject({ n: z.int() }),
      execute: (_args, ctx) => execute(ctx) as Promise<never>,
      ...options,
    });
  const entries = (run: string) =>
    db()
      .query<{ kind: string; body: string }>(
        `select kind, convert_from(body, 'UTF8') as body from actguard.entries where run = $1 order by id`,
        [run],
      )
      .then((rows) => rows.map((r) => ({ kind: r.kind, data: (JSON.parse(r.body) as { data: object }).data })));

  test('P5 the claim names references, the outcome the uses, and neither a value', async () => {
    const credentials = { bank: secret('bank/key', { host: here() }) };
    const pay = tool({ credentials }, async ({ fetch }) => {
      await fetch(`http://${here()}/a`, { method: 'POST' });
      await fetch(`http://${here()}/b`, { method: 'POST' });
      return null;
    });
    const run = await worker([pay], { environment }).run();
    expect(await run.call('pay', { n: 1 })).toMatchObject({ kind: 'done' });
    const all = await entries(run.run);
    expect(all.find((e) => e.kind === 'call.started')?.data).toMatchObject({ credentials: ['bank/key'] });
    expect(all.find((e) => e.kind === 'call.succeeded')?.data).toMatchObject({
      uses: [{ name: 'bank/key', host: here(), method: 'POST' }],
    });
    expect(JSON.stringify(all)).not.toContain(VALUE);
  });

  test('EX4 reveal is marked in the claim, recorded before it is given, and makes a failure unknown', async () => {
    const credentials = { bank: secret('bank/key', { reveal: true }), other: secret('other/key', { host: here() }) };
    const got: string[] = [];
    const pay = tool({ credentials }, async ({ reveal }) => {
      got.push(await reveal('bank'));
      throw new Error('the SDK failed');
    });
    const run = await worker([pay], { environment: { ...environment, OTHER_KEY: 'other-0123456789' } }).run();
    expect(await run.call('pay', { n: 1 })).toMatchObject({ kind: 'unknown' });
    expect(got).toEqual([VALUE]);
    const all = await entries(run.run);
    expect(all.find((e) => e.kind === 'call.started')?.data).toMatchObject({
      credentials: ['bank/key', 'other/key'],
      revealable: ['bank/key'],
    });
    expect(all.find((e) => e.kind === 'credential.revealed')?.data).toMatchObject({ name: 'bank/key' });

    // the twin that reveals nothing has failed, and may be called again
    const silent = tool({ credentials }, () => Promise.reject(new Error('nothing was sent')));
    const twin = await worker([silent], { environment: { ...environment, OTHER_KEY: 'other-0123456789' } }).run();
    expect(await twin.call('pay', { n: 1 })).toMatchObject({ kind: 'failed' });
  });

  test('P5 what is sent by ctx.fetch only is not revealed, nor what the tool does not have', async () => {
    const credentials = { bank: secret('bank/key', { host: here() }) };
    const codes: unknown[] = [];
    const pay = tool({ credentials }, async ({ reveal }) => {
      for (const name of ['bank', 'none']) await reveal(name).catch((e: { code: unknown }) => codes.push(e.code));
      return null;
    });
    const run = await worker([pay], { environment }).run();
    expect(await run.call('pay', { n: 1 })).toMatchObject({ kind: 'done' });
    expect(codes).toEqual(['FORBIDDEN', 'CREDENTIAL_MISSING']);
    expect((await entries(run.run)).map((e) => e.kind)).not.toContain('credential.revealed');
  });
});
