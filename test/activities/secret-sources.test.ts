/** Where secrets come from: files, Vault, tokens, functions; how long they stay; what is refused. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { environmentSecrets, resolveCredentials } from '../../activities/credentials.ts';
import { SecretSet } from '../../activities/scrub.ts';
import { cachedSecrets } from '../../activities/secret-cache.ts';
import { fileSecrets, makeIdentity, readSecretFile, writeSecretFile } from '../../activities/secret-file.ts';
import { secretProblem } from '../../activities/secret-problem.ts';
import { vaultSecrets } from '../../activities/secret-vault.ts';
import { defineConfig, secret, type SecretFromOptions } from '../../define/index.ts';
import { openSecrets } from '../../worker/secrets.ts';
import vector from '../vectors/age.json' with { type: 'json' };
import { fakeVault, type FakeVault } from '../support/vault.ts';

const folder = mkdtempSync(join(tmpdir(), 'actguard-secrets-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const principal = { tenant: 'acme', user: 'alice' };
const open = (from: readonly SecretFromOptions[], environment: Record<string, string> = {}, known = new SecretSet()) =>
  openSecrets(defineConfig({ tools: [], agents: [], policies: 'p', secrets: { from } }), folder, environment, known);

describe('which values serve', () => {
  test.each([
    ['empty', '', 'is empty'],
    ['short', 'abcdefghij1', 'is shorter than 12 bytes'],
    ['a common word', 'Administrator', 'is a common word'],
    ['a common word of any text', 'International', 'is a common word'],
    ['what stands in examples', 'your-api-key-here', 'is a common word'],
    ['a row of digits', '123456789012', 'is a common word'],
    ['blanks', '            a', 'is mostly blanks'],
    ['few signs', 'abababababab', 'repeats a few signs'],
    ['no text', 'abcdefghijk\ud800', 'is not text'],
    ['a zero', 'abcdefghij1\0', 'is not text'],
    ['too long', 'k1'.repeat(10_000), 'is longer than 16384 bytes'],
  ])('CONFIG_INVALID: %s', async (_what, value, problem) => {
    expect(secretProblem(value)).toBe(problem);
    const known = new SecretSet();
    const refs = { bank: secret('bank/key', { host: 'bank.example' }) };
    const source = environmentSecrets({ BANK_KEY: value });
    const error = await resolveCredentials(refs, source, known, principal).catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: `secret \`bank/key\` ${problem}` });
  });

  test.each([
    ['twelve bytes', 'abcdefghij12'],
    ['regex characters', '.*+?^${}()|[]\\.*'],
    ['line ends', '-----BEGIN KEY-----\nMIIB\n-----END KEY-----\n'],
    ['letters only', 'jqzkvxmwpfyt'],
    ['a common word inside', 'x7-administrator-q2'],
    ['another script', 'пароль-который-никто'],
  ])('taken: %s', (_what, value) => {
    expect(secretProblem(value)).toBeNull();
    const known = new SecretSet();
    known.add(value);
    expect(known.text(`before ${value} after`)).toBe('before [secret] after');
  });

  test('every missing one is named, and every one that does not serve, with what is wrong', async () => {
    const refs = { a: secret('a/key', { host: 'a.example' }), b: secret('b/key', { host: 'b.example' }) };
    const resolve = (environment: Record<string, string>) =>
      resolveCredentials(refs, environmentSecrets(environment), new SecretSet(), principal);
    await expect(resolve({})).rejects.toMatchObject({
      code: 'CREDENTIAL_MISSING',
      details: { names: ['a/key', 'b/key'] },
    });
    await expect(resolve({ A_KEY: '', B_KEY: 'short' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'secret `a/key` is empty; secret `b/key` is shorter than 12 bytes',
      details: { names: ['a/key', 'b/key'] },
    });
  });
});

describe('owners', () => {
  test('P5 a tenant gets its own value, never the worker\u2019s or a neighbour\u2019s', async () => {
    const asked: object[] = [];
    const source = open([
      (name, owner) => {
        asked.push({ name, ...owner });
        return Promise.resolve(owner.tenant === 'acme' ? `value-of-${owner.user ?? 'all'}-0123` : undefined);
      },
    ]);
    const refs = (per: 'tenant' | 'user') => ({ a: secret('a/key', { host: 'a.example', per }) });
    const value = async (per: 'tenant' | 'user', who: typeof principal) =>
      (await resolveCredentials(refs(per), source, new SecretSet(), who))[0]?.value;
    expect(await value('tenant', principal)).toBe('value-of-all-0123');
    expect(await value('user', principal)).toBe('value-of-alice-0123');
    expect(await value('user', { tenant: 'acme', user: 'bob' })).toBe('value-of-bob-0123');
    await expect(value('tenant', { tenant: 'globex', user: 'alice' })).rejects.toMatchObject({
      code: 'CREDENTIAL_MISSING',
    });
    expect(asked[0]).toEqual({ name: 'a/key', tenant: 'acme' });
  });

  test('P5 the environment holds the worker\u2019s own only', async () => {
    const source = environmentSecrets({ A_KEY: 'value-0123456789' });
    const tenant = { a: secret('a/key', { host: 'a.example', per: 'tenant' }) };
    await expect(resolveCredentials(tenant, source, new SecretSet(), principal)).rejects.toMatchObject({
      code: 'CREDENTIAL_MISSING',
    });
    const own = { a: secret('a/key', { host: 'a.example' }) };
    expect(await resolveCredentials(own, source, new SecretSet(), principal)).toHaveLength(1);
  });
});

describe('the memory', () => {
  test('a value is asked for once in its time, also by many at once; then a changed one is used', async () => {
    let [nowMs, asked, value] = [0, 0, 'first-0123456789'];
    const find = () => {
      asked += 1;
      return Promise.resolve({ value });
    };
    const source = cachedSecrets([{ find }], 1000, () => nowMs);
    expect(await Promise.all([1, 2, 3].map(() => source.read('a', 'A')))).toEqual([value, value, value]);
    value = 'second-0123456789';
    nowMs = 999;
    expect(await source.read('a', 'A')).toBe('first-0123456789');
    nowMs = 1000;
    expect(await source.read('a', 'A')).toBe(value);
    expect(asked).toBe(2);
  });

  test('what is missing or away is asked for again; a shorter life than the memory counts', async () => {
    let nowMs = 0;
    const answers: (() => Promise<{ value: string; goodForMs?: number } | undefined>)[] = [
      () => Promise.resolve(undefined),
      () => Promise.reject(new Error('away')),
      () => Promise.resolve({ value: 'token-0123456789', goodForMs: 10 }),
      () => Promise.resolve({ value: 'token-9876543210' }),
    ];
    const source = cachedSecrets([{ find: () => (answers.shift() ?? (() => Promise.resolve(undefined)))() }], 1000, () => nowMs); // prettier-ignore
    expect(await source.read('a', 'A')).toBeUndefined();
    await expect(source.read('a', 'A')).rejects.toThrow('away');
    expect(await source.read('a', 'A')).toBe('token-0123456789');
    nowMs = 10;
    expect(await source.read('a', 'A')).toBe('token-9876543210');
  });

  test('the first source that has it gives it; an empty variable counts where no other source has a value', async () => {
    const given = new Map([['b/key', 'from-a-function-01']]);
    const source = open([{ kind: 'environment' }, (name) => Promise.resolve(given.get(name))], {
      A_KEY: 'from-the-environment',
      B_KEY: '',
      C_KEY: '',
    });
    expect(await source.read('a/key', 'A_KEY')).toBe('from-the-environment');
    expect(await source.read('b/key', 'B_KEY')).toBe('from-a-function-01');
    expect(await source.read('c/key', 'C_KEY')).toBe(''); // CONFIG_INVALID where it is used
    expect(await source.read('d/key', 'D_KEY')).toBeUndefined();
    given.set('c/key', 'set-in-the-meantime');
    expect(await source.read('c/key', 'C_KEY')).toBe('set-in-the-meantime');
  });

  test('a function that throws is away, and what it threw is not shown', async () => {
    const error = await open([() => Promise.reject(new Error('sk-inside-the-error'))])
      .read('a', 'A')
      .catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    expect(String(error)).not.toContain('sk-inside');
    await expect(open([() => Promise.resolve(5 as unknown as string)]).read('a', 'A')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

describe('an age file', () => {
  const place = { path: join(folder, 'secrets.age'), identityFile: join(folder, 'identity'), identity: undefined };
  const entry = (value: string, tenant: string | null = null) => ({
    ...{ name: 'bank/key', tenant, user: null, value, setAt: '2026-11-24T00:00:00.000Z' },
  });
  beforeAll(async () => {
    await makeIdentity(place.identityFile);
    await writeSecretFile(place, [entry('worker-0123456789'), entry('acme-0123456789', 'acme')]);
  });

  test('what is written is read, by owner; file and identity are their owner\u2019s alone', async () => {
    const source = open([{ kind: 'file', path: place.path, identityFile: place.identityFile }]);
    expect(await source.read('bank/key', 'X')).toBe('worker-0123456789');
    expect(await source.read('bank/key', 'X', { tenant: 'acme' })).toBe('acme-0123456789');
    expect(await source.read('bank/key', 'X', { tenant: 'globex' })).toBeUndefined();
    expect(await source.read('bank/other', 'X')).toBeUndefined();
    for (const file of [place.path, place.identityFile]) expect(statSync(file).mode & 0o077).toBe(0);
    expect(readFileSync(place.path).toString('latin1')).not.toContain('0123456789');
    await expect(makeIdentity(place.identityFile)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('a rotated value is used without a restart', async () => {
    const source = fileSecrets(place);
    const read = () => source.find('bank/key', 'X', { tenant: 'acme' });
    expect(await read()).toEqual({ value: 'acme-0123456789' });
    await writeSecretFile(place, [entry('acme-9876543210', 'acme')]);
    expect(await read()).toEqual({ value: 'acme-9876543210' });
  });

  test('wide permissions, a wrong identity, none, and foreign content are refused; nothing of it is shown', async () => {
    const wide = join(folder, 'wide');
    writeFileSync(wide, readFileSync(place.identityFile));
    chmodSync(wide, 0o640);
    const other = join(folder, 'other');
    await makeIdentity(other);
    const foreign = join(folder, 'foreign.age');
    await writeSecretFile({ ...place, path: foreign }, [{ name: 'sk-not-ours-01234' } as never]);
    const cases: readonly (readonly [object, string])[] = [
      [{ identityFile: wide }, 'may be read by others (mode 0640)'],
      [{ identityFile: other }, 'cannot be opened with this identity'],
      [{ identityFile: join(folder, 'none') }, 'is not there'],
      [{ path: join(folder, 'none.age') }, 'is not there'],
      [{ identity: 'AGE-SECRET-KEY' }, 'is not one age identity'],
      [{ path: foreign }, 'does not hold what'],
      [{ path: place.identityFile }, 'cannot be opened'],
    ];
    for (const [change, words] of cases) {
      const error = await readSecretFile({ ...place, ...change }).catch((e: unknown) => e as Error);
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(words) as string });
      expect((error as Error).message).not.toMatch(/SECRET-KEY-1|sk-not/);
    }
    // who may write the file can put values of their own into it; ciphertext may be read
    const open = join(folder, 'open.age');
    writeFileSync(open, readFileSync(place.path));
    chmodSync(open, 0o666);
    await expect(readSecretFile({ ...place, path: open })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('may be written by others (mode 0666)') as string,
    });
    chmodSync(open, 0o644);
    expect(await readSecretFile({ ...place, path: open })).toHaveLength(1);
    chmodSync(wide, 0o600);
    expect(await readSecretFile({ ...place, identityFile: wide })).toHaveLength(1);
    const identity = readFileSync(place.identityFile, 'utf8');
    expect(await readSecretFile({ ...place, identityFile: 'none', identity })).toHaveLength(1);
  });

  test('a file made by the age tool opens, armored and not', async () => {
    const identityFile = join(folder, 'vector');
    writeFileSync(identityFile, vector.identityFile, { mode: 0o600 });
    for (const [name, bytes] of [
      ['a.age', Buffer.from(vector.armored)],
      ['b.age', Buffer.from(vector.binaryBase64, 'base64')],
    ] as const) {
      writeFileSync(join(folder, name), bytes);
      const [found] = await readSecretFile({ path: join(folder, name), identityFile, identity: undefined });
      expect(found).toMatchObject({ name: 'payments/api-key', value: vector.value });
    }
  });
});

describe('Vault', () => {
  const role = { roleId: 'role-1', secretId: 'secret-id-1' };
  let vault: FakeVault;
  let nowMs = 0;
  beforeAll(async () => {
    vault = await fakeVault(role);
  });
  afterAll(() => vault.close());
  beforeEach(() => {
    Object.assign(vault, { leaseSeconds: 3600, renewable: true, trouble: null });
    vault.asked.length = 0;
    vault.values.clear();
    vault.values.set('app/bank/key', 'vault-0123456789');
    nowMs = 0;
  });
  const options = () => ({
    ...{ kind: 'vault' as const, address: vault.address, mount: 'secret', prefix: 'app/', auth: 'approle' },
    ...{ namespace: null, roleIdEnv: 'VAULT_ROLE_ID', secretIdEnv: 'VAULT_SECRET_ID' },
  });
  const origin = (as = role) => vaultSecrets(options(), as, () => nowMs);
  const LOGIN = 'POST auth/approle/login';
  const RENEW = 'POST auth/token/renew-self';
  const READ = 'GET secret/data/app/bank/key';

  test('one login, then reads; tenants and users have places of their own, whatever their ids are', async () => {
    vault.values.set('app/tenants/acme/users/a%2Fb/bank/key', 'of-a-user-0123456');
    const source = origin();
    expect(await source.find('bank/key', 'X', {})).toEqual({ value: 'vault-0123456789' });
    expect(await source.find('bank/key', 'X', { tenant: 'acme', user: 'a/b' })).toEqual({ value: 'of-a-user-0123456' });
    expect(await source.find('bank/none', 'X', {})).toBeUndefined();
    await expect(source.find('bank/key', 'X', { tenant: '..' })).rejects.toMatchObject({ code: 'CREDENTIAL_MISSING' });
    expect(vault.asked.filter((asked) => asked === LOGIN)).toHaveLength(1);
  });

  test('the lease is renewed after two thirds of it, once for all who ask, and made again after its end', async () => {
    vault.leaseSeconds = 90;
    const source = origin();
    const read = () => source.find('bank/key', 'X', {});
    await read();
    nowMs = 59_000;
    await read();
    expect(vault.asked).toEqual([LOGIN, READ, READ]);
    nowMs = 60_000;
    await Promise.all([read(), read()]);
    expect(vault.asked.slice(3)).toEqual([RENEW, READ, READ]);
    nowMs += 90_000;
    await read();
    expect(vault.asked.slice(6)).toEqual([LOGIN, READ]);
    vault.renewable = false;
    nowMs += 90_000;
    await read();
    nowMs += 60_000;
    await read();
    expect(vault.asked.slice(8)).toEqual([LOGIN, READ, LOGIN, READ]);
  });

  test('a lease that ends in the middle is made again without anybody noticing', async () => {
    const source = origin();
    await source.find('bank/key', 'X', {});
    vault.revokeAll();
    expect(await source.find('bank/key', 'X', {})).toEqual({ value: 'vault-0123456789' });
    expect(vault.asked).toEqual([LOGIN, READ, READ, LOGIN, READ]);
  });

  test('sealed or slow is BACKEND_UNAVAILABLE, 403 and a wrong role CREDENTIAL_MISSING; afterwards it works', async () => {
    const source = origin();
    vault.trouble = 503;
    await expect(source.find('bank/key', 'X', {})).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    vault.trouble = 403;
    await expect(source.find('bank/key', 'X', {})).rejects.toMatchObject({ code: 'CREDENTIAL_MISSING' });
    vault.trouble = 0;
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => {
      const stop = new AbortController();
      setImmediate(() => stop.abort(new DOMException('too slow', 'TimeoutError')));
      return stop.signal;
    });
    await expect(source.find('bank/key', 'X', {})).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
      message: expect.stringContaining('no answer within 5000 ms') as string,
    });
    timeout.mockRestore();
    vault.trouble = null;
    for (const wrong of [
      { ...role, secretId: 'other' },
      { roleId: undefined, secretId: undefined },
    ]) {
      const error = await origin(wrong as typeof role)
        .find('bank/key', 'X', {})
        .catch((e: unknown) => e as Error);
      expect(error).toMatchObject({ code: 'CREDENTIAL_MISSING' });
      expect(String(error)).not.toContain('other');
    }
    expect(await source.find('bank/key', 'X', {})).toEqual({ value: 'vault-0123456789' });
  });
});

describe('tokens by client credentials', () => {
  const seen: { authorization: string | undefined; body: URLSearchParams }[] = [];
  let answer: [number, object] = [200, {}];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      seen.push({ authorization: request.headers.authorization, body: new URLSearchParams(body) });
      response.writeHead(answer[0]).end(JSON.stringify(answer[1]));
    });
  });
  let tokenUrl = '';
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    tokenUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const source = (auth: 'basic' | 'body', known?: SecretSet, clientSecret = 'client secret/0123') =>
    open(
      [
        { kind: 'environment' },
        {
          kind: 'oauth',
          name: 'crm/token',
          tokenUrl,
          clientId: 'a:b',
          clientSecret: 'crm/client-secret',
          scope: 'r w',
          auth,
        },
      ],
      { CRM_CLIENT_SECRET: clientSecret },
      known,
    );

  test('the client signs in by its secret, the token is kept and both are scrubbed', async () => {
    answer = [200, { access_token: 'token-0123456789', token_type: 'Bearer', expires_in: 3600 }];
    const known = new SecretSet();
    const tokens = source('basic', known);
    const refs = { crm: secret('crm/token', { host: 'crm.example' }) };
    for (const _ of [1, 2]) await resolveCredentials(refs, tokens, known, principal);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.authorization).toBe(`Basic ${Buffer.from('a%3Ab:client+secret%2F0123').toString('base64')}`);
    expect(Object.fromEntries(seen[0]?.body ?? [])).toEqual({ grant_type: 'client_credentials', scope: 'r w' });
    expect(known.text('client secret/0123 token-0123456789')).toBe('[secret] [secret]');
    await source('body').read('crm/token', 'X');
    expect(seen[1]?.body.get('client_secret')).toBe('client secret/0123');
    expect(await tokens.read('other/token', 'X')).toBeUndefined();
    expect(await tokens.read('crm/token', 'X', { tenant: 'acme' })).toBeUndefined();
  });

  test('a refusal, another type, and an outage have their codes', async () => {
    for (const [reply, code] of [
      [[401, { error: 'invalid_client' }], 'CREDENTIAL_MISSING'],
      [[200, { access_token: 'token-0123456789', token_type: 'mac' }], 'CREDENTIAL_MISSING'],
      [[200, { token: 'token-0123456789' }], 'CREDENTIAL_MISSING'],
      [[500, {}], 'BACKEND_UNAVAILABLE'],
      [[302, {}], 'BACKEND_UNAVAILABLE'],
    ] as const) {
      answer = [...reply] as [number, object];
      await expect(source('basic').read('crm/token', 'X')).rejects.toMatchObject({ code });
    }
    answer = [200, { access_token: 'token-0123456789', token_type: 'bearer' }];
    expect(await source('basic').read('crm/token', 'X')).toBe('token-0123456789');
    const asked = seen.length;
    for (const unfit of ['', 'short']) {
      await expect(source('basic', undefined, unfit).read('crm/token', 'X')).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        details: { names: ['crm/client-secret'] },
      });
    }
    expect(seen).toHaveLength(asked); // nothing was sent
  });
});
