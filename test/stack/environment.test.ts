/** What a worker read leaves its environment: tools and the processes they start find nothing there. */
import { execFileSync } from 'node:child_process';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import { defineTool, secret } from '../../define/index.ts';
import { platform } from '../support/platform.ts';

const secrets = {
  ENV_TEST_KEY: 'sk-env-0123456789',
  ACTGUARD_DATABASE_URL: 'postgres://u:secret-0123456789@127.0.0.1:1/x',
  ACTGUARD_PASSPHRASE: 'pass-0123456789',
  ACTGUARD_AGE_IDENTITY: 'AGE-0123456789',
  ACTGUARD_SEALING_PASSPHRASE: 'pass-9876543210',
  ACTGUARD_TOKEN: 'token-0123456789',
  ACTGUARD_CODEC_TOKEN: 'token-9876543210',
  TEMPORAL_API_KEY: 'key-0123456789',
  OPENAI_API_KEY: 'sk-openai-0123456789',
};
const HARMLESS = 'sk-openai-9876543210';
const before = Object.fromEntries(Object.keys(secrets).map((name) => [name, process.env[name]]));
afterAll(() => {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

test('P5 secrets, the database URL and keys leave process.env; a child of a tool starts without them', async () => {
  Object.assign(process.env, secrets, { ENV_TEST_HARMLESS: 'stays' });
  const look = defineTool({
    name: 'look',
    description: 'Look around',
    effect: 'read',
    inputSchema: z.strictObject({}),
    credentials: { key: secret('env/test-key', { host: 'env.example', env: 'ENV_TEST_KEY' }) },
    execute: () => {
      const child = execFileSync(process.execPath, ['-p', 'JSON.stringify(process.env)'], { encoding: 'utf8' });
      const said = [secrets.OPENAI_API_KEY, Buffer.from(secrets.ACTGUARD_PASSPHRASE).toString('hex'), HARMLESS];
      return { own: Object.keys(process.env), child: Object.keys(JSON.parse(child) as object), said };
    },
  });
  const p = await platform({ tools: [look], environment: 'process' });
  try {
    const session = await p.actguard.session({ id: 'env', agent: 'desk', user: 'alice', tenant: 'acme' });
    const result = await session.call('look', {}); // its credential is there although the variable is gone
    expect(result.kind).toBe('done');
    const { own, child, said } = (result as unknown as { output: { own: string[]; child: string[]; said: string[] } }).output; // prettier-ignore
    expect(said).toEqual(['[secret]', '[secret]', HARMLESS]); // also what nothing has used yet
    for (const names of [own, child]) {
      for (const name of Object.keys(secrets)) expect(names).not.toContain(name);
      expect(names).toContain('ENV_TEST_HARMLESS');
    }
    await session.close();
  } finally {
    delete process.env['ENV_TEST_HARMLESS'];
    await p.end();
  }
});
