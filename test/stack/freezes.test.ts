import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { makeThaw } from '../../client/commands.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { freezeScope, listFreezes, thawScope } from '../../client/freezes.ts';
import { generateKey } from '../../client/keys.ts';
import { defineTool } from '../../define/index.ts';
import { platform, type Platform } from '../support/platform.ts';

const pay = defineTool({
  name: 'pay',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string() }),
  execute: () => ({ ok: true }),
});
let p: Platform;
beforeAll(async () => {
  p = await platform({ tools: [pay] });
});
afterAll(() => p?.end());

test('P7 P9 a frozen tool is FROZEN with who and why until a signed thaw', async () => {
  const s = await p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' });
  expect((await s.call('pay', { to: 'a' })).kind).toBe('done');
  const scope = { tenant: 'acme', scope: 'tool', value: 'pay' } as const;
  await freezeScope(p.actguard, scope, { by: 'olga', reason: 'wrong amounts' });
  expect(await s.call('pay', { to: 'b' })).toMatchObject({
    kind: 'denied',
    denial: { code: 'FROZEN', details: { scope: 'tool', value: 'pay', by: 'olga', reason: 'wrong amounts' } },
  });
  expect(await listFreezes(p.db, 'acme')).toMatchObject([{ ...scope, by: 'olga' }]);

  const { approver } = devApprover(p.directory, userInfo().username, Date.now());
  const stranger = makeThaw(scope, 'let me', generateKey('olga'), Date.now());
  await expect(thawScope(p.actguard, stranger)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  expect((await s.call('pay', { to: 'c' })).kind).toBe('denied');
  await thawScope(p.actguard, makeThaw(scope, 'mended', approver, Date.now()));
  expect((await s.call('pay', { to: 'd' })).kind).toBe('done');
  await expect(thawScope(p.actguard, makeThaw(scope, 'again', approver, Date.now()))).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});
