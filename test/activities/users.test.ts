/** Attributes of users: looked up when a run is opened, checked, kept with it, asked for by policies. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { attributesOf } from '../../activities/user-attributes.ts';
import { defineConfig, defineTool } from '../../define/index.ts';
import type { UserOptions } from '../../define/users.ts';
import { isActGuardError } from '../../governance/errors.ts';
import { desk } from '../support/calls.ts';

const pay = defineTool({ name: 'pay', description: 'Pay', effect: 'write', inputSchema: z.strictObject({ n: z.int() }), execute: () => ({ ok: true }) }); // prettier-ignore
const attributes = z.strictObject({ department: z.enum(['finance', 'support']), clearance: z.int().optional() });
const world = desk();
const principal = (user: string) => ({ tenant: 'acme', user, agent: 'desk' });
const usersOf = (find: UserOptions['find']) => defineConfig({ tools: [pay], agents: [], policies: './p', users: { attributes, find } }).users; // prettier-ignore

test('a policy decides by what was known of the user when the run was opened', async () => {
  const departments: Record<string, string> = { fin: 'finance', sup: 'support' };
  const asked: string[] = [];
  const worker = world.worker([pay], {
    policies: '@id("finance") permit (principal, action, resource) when { principal.department == "finance" };',
    users: {
      attributes,
      find: ({ tenant, user }) => {
        asked.push(`${tenant} ${user}`);
        return { department: departments[user] };
      },
    },
  });
  const [fin, sup] = [await worker.run({ user: 'fin' }), await worker.run({ user: 'sup' })];
  departments['fin'] = 'support'; // later: the run keeps what it was opened with
  expect(await fin.call('pay', { n: 1 })).toMatchObject({ kind: 'done' });
  expect(await sup.call('pay', { n: 2 })).toMatchObject({ kind: 'denied', denial: { code: 'POLICY_DENIED' } });
  expect(asked).toEqual(['acme fin', 'acme sup']);
});

describe('P7 what cannot be known opens no run', () => {
  test.each<[string, UserOptions['find'], object]>([
    ['nobody knows the user', () => null, { code: 'FORBIDDEN' }],
    ['a value that does not fit', () => ({ department: 'sales' }), { code: 'CONFIG_INVALID' }],
    ['an attribute more', () => ({ department: 'finance', admin: true }), { code: 'CONFIG_INVALID' }],
    ['a number that lost digits', () => ({ department: 'finance', clearance: 2 ** 53 }), { code: 'CONFIG_INVALID' }],
    ['no plain object', () => new Date(), { code: 'CONFIG_INVALID' }],
  ])('%s; its twin opens', async (_name, find, denial) => {
    expect(await attributesOf(usersOf(find), principal('bob'))).toMatchObject(denial);
    const twin = usersOf(() => Promise.resolve({ department: 'finance', clearance: 2 }));
    expect(await attributesOf(twin, principal('bob'))).toEqual({ attributes: { department: 'finance', clearance: 2 } });
  });

  test('a look-up that fails is tried again, not opened without', async () => {
    const away = usersOf(() => Promise.reject(new Error('ldap is away')));
    await expect(attributesOf(away, principal('bob'))).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  });

  test.each<[string, unknown, string]>([
    ['no function', { attributes, find: 7 }, 'users.find'],
    ['no schema', { find: () => null }, 'users.attributes'],
    ['a loose schema', { attributes: z.object({ a: z.string() }), find: () => null }, 'users.attributes'],
    ['an option that nothing reads', { attributes, find: () => null, cache: 1 }, 'users.cache'],
    ['no options', 'ldap://x', 'users'],
  ])('a configuration with %s does not load', (_name, users, field) => {
    try {
      defineConfig({ tools: [pay], agents: [], policies: './p', users: users as UserOptions });
      expect.fail('it loaded');
    } catch (error) {
      if (!isActGuardError(error)) throw error;
      expect(error.code).toBe('CONFIG_INVALID');
      expect(error.problems.map(({ where }) => where)).toContain(`the configuration, field \`${field}\``);
    }
  });
});
