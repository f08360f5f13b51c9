import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyCommand } from '../../activities/commands.ts';
import { ensureDevApprover, listKeys } from '../../activities/directory.ts';
import type { Deps } from '../../activities/deps.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { generateKey, signEnvelope, type SigningKey } from '../../client/keys.ts';
import { commandStatement, runTarget, type Command } from '../../governance/command.ts';
import { APPROVAL_PAYLOAD_TYPE, COMMAND_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import type { Json } from '../../governance/json.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { entries, impostor, makeDeps, openRun, person } from './fixture.ts';

let fresh: FreshDatabase;
let deps: Deps;
let operator: SigningKey;
let clerk: SigningKey;
let run: string;
let nonce = 0;
const root = generateKey('');

beforeAll(async () => {
  fresh = await freshDatabase();
  deps = makeDeps(fresh.db, [root.keyId]);
  operator = await person(deps, root, 'olga', ['operator']);
  clerk = await person(deps, root, 'clerk', ['finance']);
  run = await openRun(fresh.db);
});
afterAll(() => fresh.drop());

const command = (more: Partial<Command> = {}): Command => ({
  v: 1, verb: 'topUp', tenant: 'acme', target: runTarget(run), nonce: (++nonce).toString(16).padStart(32, '0'),
  exp: new Date(Date.now() + 60_000).toISOString(), reason: 'more work', data: { usdMicros: 1_000_000 }, ...more,
}); // prettier-ignore
const signed = (c: object, key: SigningKey = operator, type = COMMAND_PAYLOAD_TYPE): Json =>
  signEnvelope(type, commandStatement(c as Command), [key]);
const send = (envelope: Json, delivery?: string) => verifyCommand(deps, { v: 1, run, entries: [], envelope }, delivery);

describe('P4 signed commands', () => {
  test('P4 a command of an operator is used once; a retry of its delivery is the same use', async () => {
    const envelope = signed(command());
    const accepted = {
      kind: 'accepted',
      verb: 'topUp',
      person: 'olga',
      reason: 'more work',
      data: { usdMicros: 1_000_000 },
    };
    expect(await send(envelope, 'd1')).toEqual(accepted);
    expect(await send(envelope, 'd1')).toEqual(accepted);
    expect(await send(envelope, 'd2')).toEqual({ kind: 'rejected', reason: 'the command was used already' });
    expect((await entries(fresh.db, run)).map((e) => e.kind)).toEqual(['command.accepted', 'command.invalid']);
  });

  test('P4 two deliveries of one command at the same moment: one is used', async () => {
    const envelope = signed(command());
    const results = await Promise.all([send(envelope), send(envelope), send(envelope)]);
    expect(results.filter((r) => r.kind === 'accepted')).toHaveLength(1);
  });

  test.each([
    ['no operator', () => signed(command(), clerk), /neither operator nor administrator/],
    ['another run', () => signed(command({ target: 'run:other' })), /another target/],
    ['another tenant', () => signed(command({ tenant: 'globex' })), /another tenant/],
    ['expired', () => signed(command({ exp: new Date(Date.now() - 1).toISOString() })), /expired/],
    ['good for ever', () => signed(command({ exp: '2099-01-01T00:00:00.000Z' })), /too long/],
    ['forged', () => signed(command(), impostor(operator.publicKey, operator.keyId, 'olga')), /does not verify/],
    ['unknown key', () => signed(command(), generateKey('olga')), /unknown/],
    ['unknown verb', () => signed({ ...command(), verb: 'forget' }), /verb/],
    ['a field more', () => signed({ ...command(), note: 'x' }), /may not have/],
    ['short nonce', () => signed(command({ nonce: '00' })), /nonce/],
    ['freeze needs no signature', () => signed(command({ verb: 'freeze' })), /unsigned/],
    ['signed as an approval', () => signed(command(), operator, APPROVAL_PAYLOAD_TYPE), /payload type/],
    ['not an envelope', () => ['thaw'] as Json, /not an object/],
  ] as [string, () => Json, RegExp][])('P4 does not count: %s; its twin does', async (_name, make, reason) => {
    expect(await send(make())).toMatchObject({ kind: 'rejected', reason: expect.stringMatching(reason) as string });
    expect(await send(signed(command()))).toMatchObject({ kind: 'accepted' });
  });
});

describe('BU6 a run’s top-up', () => {
  /** Of a run of its own: how many refusals a run records is bounded. */
  const topUp = async (data: object, budget: { limit: object; child?: true }) => {
    const own = await openRun(fresh.db);
    const envelope = signed(command({ target: runTarget(own), data: data as never }));
    return { own, answer: await verifyCommand(deps, { v: 1, run: own, entries: [], envelope, budget }) };
  };
  const limit = { usdMicros: 5 };

  test.each([
    ['zero', { usdMicros: 0 }, /above 0/],
    ['negative', { usdMicros: -1 }, /above 0/],
    ['text', { usdMicros: 'lots' }, /above 0/],
    ['no number', { usdMicros: null }, /above 0/],
    ['another currency', { eurMicros: 5 }, /`eurMicros`/],
    ['nothing', {}, /names no/],
    ['a unit without limit', { tokens: 5 }, /no limit of tokens/],
    ['more than can be counted', { usdMicros: Number.MAX_SAFE_INTEGER }, /counted/],
  ])('that is none is refused and recorded: %s', async (_what, data, why) => {
    const reason = expect.stringMatching(why) as string;
    const { own, answer } = await topUp(data, { limit });
    expect(answer).toMatchObject({ kind: 'rejected', reason });
    expect((await entries(fresh.db, own)).map((e) => [e.kind, e.body.data])).toMatchObject([
      ['command.invalid', { reason }],
    ]);
    expect((await topUp({ usdMicros: 5 }, { limit })).answer).toMatchObject({ kind: 'accepted' });
  });

  test('BU7 of a child is refused: its parent has the budget', async () => {
    const { answer } = await topUp({ usdMicros: 5 }, { limit, child: true });
    expect(answer).toMatchObject({ kind: 'rejected', reason: expect.stringContaining('parent') as string });
  });
});

describe('P4 the dev approver', () => {
  test('P4 answers in every tenant on a dev stack and nowhere else', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'actguard-dev-'));
    try {
      const dev = devApprover(directory, 'me', Date.now());
      const devDeps = makeDeps(fresh.db, [dev.rootKeyId], true);
      await expect(ensureDevApprover({ ...devDeps, dev: false }, dev)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      expect(await ensureDevApprover(devDeps, dev)).toMatchObject({ person: 'dev:me', tenant: '*', dev: true });
      await ensureDevApprover(devDeps, dev);
      expect((await listKeys(devDeps)).filter((k) => k.dev)).toHaveLength(1);
      const envelope = (): Json => signed(command(), dev.approver);
      const on = (d: Deps) => verifyCommand(d, { v: 1, run, entries: [], envelope: envelope() });
      expect(await on(devDeps)).toMatchObject({ kind: 'accepted', person: 'dev:me' });
      expect(await on({ ...devDeps, dev: false })).toMatchObject({
        kind: 'rejected',
        reason: 'dev keys do not count outside a dev stack',
      });
      expect(
        (await entries(fresh.db, run)).filter((e) => e.kind === 'command.accepted').at(-1)?.body.data,
      ).toMatchObject({ dev: true });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
