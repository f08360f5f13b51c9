/** Thousands of hostile signals straight into Temporal, past page, client and their checks: no run is wedged, none counts. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { addPayloadKey, writePayloadKeys } from '../../activities/payload-keys.ts';
import { makeAnswer, readApproval } from '../../client/approvals.ts';
import { DEV_APPROVER_KEY_FILE } from '../../client/dev-approver.ts';
import { generateKey, readKeyFile, type SigningKey } from '../../client/keys.ts';
import { defineTool } from '../../define/index.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import { canonicalize } from '../../governance/canonical.ts';
import type { Json } from '../../governance/json.ts';
import { MAX_OPEN_ASKS, MAX_REJECTED_ANSWERS } from '../../governance/limits.ts';
import { workflowIdOf } from '../../workflows/ids.ts';
import type { ApprovalSignal } from '../../workflows/messages.ts';
import { numbers } from '../support/numbers.ts';
import { platform, type Platform } from '../support/platform.ts';
import { temporalAddress } from '../support/temporal.ts';

const SEED = 20_261_201;
const BIGGEST = 4_096;
const AT_ONCE = 10;
const folder = mkdtempSync(join(tmpdir(), 'actguard-signals-'));
const paid: string[] = [];
const pay = defineTool({
  name: 'pay',
  description: 'Pay somebody',
  effect: 'write',
  inputSchema: z.strictObject({ to: z.string() }),
  outputSchema: z.object({ receipt: z.int() }),
  describe: ({ to }) => `Pay ${to}`,
  execute: ({ to }) => ({ receipt: paid.push(to) }),
});
const policy = `@id("all") permit (principal, action, resource);
@id("payments") @gate("approval") forbid (principal, action == Action::"pay", resource)
unless { context.approved.contains(Gate::"payments") };
`;
const config = { approvals: { maxPerHour: 10_000 } };
/** Somebody who may write to the namespace and has no key of ours. */
let plain: Client;
beforeAll(async () => {
  plain = new Client({ connection: await Connection.connect({ address: temporalAddress() }) });
});
afterAll(async () => {
  await plain?.connection.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Raw {
  readonly workflowId: string;
  readonly signalName: string;
  readonly data: Uint8Array;
  readonly encoding?: string;
}

async function send({ workflowId, signalName, data, encoding = 'json/plain' }: Raw): Promise<void> {
  await plain.connection.workflowService.signalWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId },
    signalName,
    input: { payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data }] },
  });
}

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

/** One character of the payload or of the signature is another one. */
function flipped(envelope: Json, pick: (below: number) => number): Json {
  const copy = structuredClone(envelope) as { payload: string; signatures: { sig: string }[] };
  const change = (text: string): string => {
    const at = pick(text.length - 4);
    return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
  };
  const [signature] = copy.signatures;
  if (signature && pick(2) === 0) signature.sig = change(signature.sig);
  else copy.payload = change(copy.payload);
  return copy;
}

/** A signal that must not count. Those with an ask's own nonce, which start an activity, are told apart: they are few. */
function hostile(
  pick: (below: number) => number,
  asks: readonly ApprovalRequest[],
  key: SigningKey,
  mayCost: (id: string) => boolean,
): Raw {
  const request = asks[pick(asks.length)] as ApprovalRequest;
  const other = asks[(asks.indexOf(request) + 1 + pick(asks.length - 1)) % asks.length] as ApprovalRequest;
  const workflowId = workflowIdOf(request.run);
  const approval = (signal: unknown): Raw => ({ workflowId, signalName: 'approval', data: json(signal) });
  const yes = (of = request, by = key): ApprovalSignal => makeAnswer(of, 'approve', by, Date.now());
  const junk = (): Json => 'x'.repeat(1 + pick(BIGGEST - 200));
  const free: (() => Raw)[] = [
    () => approval({ ...yes(), nonce: randomBytes(16).toString('hex') }),
    () => approval({ ...yes(), approvalId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' }),
    () => approval({ approvalId: request.approvalId, envelope: yes().envelope }),
    () => approval(yes(other).envelope),
    () => approval([null, 1, 'approve', [], {}, { approvalId: request.approvalId, nonce: request.nonce }][pick(6)]),
    () => approval(junk()),
    () => ({ ...approval(null), data: randomBytes(1 + pick(BIGGEST)) }),
    () => ({ ...approval(null), data: Buffer.from('{"approvalId":') }),
    () => ({ ...approval(yes()), encoding: ['binary/unheard-of', 'binary/encrypted', '', 'json/protobuf'][pick(4)] as string }),
    () => ({ workflowId, signalName: ['look', 'budgetChanged', 'nobody-listens', '__proto__'][pick(4)] as string, data: json({ call: junk() }) }),
    () => ({ workflowId, signalName: ['thaw', 'topUp', 'resolve'][pick(3)] as string, data: json({ envelope: [junk(), yes().envelope, null][pick(3)] }) }),
  ]; // prettier-ignore
  const own = { approvalId: request.approvalId, nonce: request.nonce };
  const costly: (() => Raw)[] = [
    () => approval({ ...own, envelope: junk() }),
    () => approval({ ...own, envelope: yes(other).envelope }),
    () => approval({ ...own, envelope: yes(request, generateKey(key.person, true)).envelope }),
    () => approval({ ...own, envelope: yes(request, { ...generateKey(key.person, true), keyId: key.keyId }).envelope }),
    () => approval({ ...own, envelope: flipped(yes().envelope, pick) }),
  ];
  const kinds = pick(3) === 0 && mayCost(request.approvalId) ? costly : free;
  return (kinds[pick(kinds.length)] as () => Raw)();
}

/** Opens asks in sessions, floods them, and answers each once, somewhere in between. */
async function flood(p: Platform, count: number, valid: number): Promise<void> {
  paid.length = 0;
  const key = readKeyFile(join(p.directory, DEV_APPROVER_KEY_FILE), null);
  const sessions = await Promise.all(
    Array.from({ length: valid / MAX_OPEN_ASKS }, () =>
      p.actguard.session({ id: randomUUID(), agent: 'desk', user: 'alice', tenant: 'acme' }),
    ),
  );
  const pending = await Promise.all(
    sessions.flatMap((s) => Array.from({ length: MAX_OPEN_ASKS }, (_, i) => s.call('pay', { to: `${s.run}/${i}` }, { callId: `p${i}` }))),
  ); // prettier-ignore
  const ids = pending.map((r) => (r.kind === 'pending' ? (r.approvalId ?? '') : ''));
  const requests = await Promise.all(ids.map(async (id) => (await readApproval(p.actguard.db, id)).request));
  const pick = numbers(SEED);
  const cost = new Map<string, number>();
  const mayCost = (id: string): boolean => {
    const n = (cost.get(id) ?? 0) + 1;
    cost.set(id, n);
    return n < MAX_REJECTED_ANSWERS;
  };
  const places = new Map<number, ApprovalRequest>();
  for (const request of requests) {
    let at = pick(count + valid);
    while (places.has(at)) at = pick(count + valid);
    places.set(at, request);
  }
  const sent: string[] = [];
  const one = async (i: number): Promise<void> => {
    const request = places.get(i);
    if (!request) return send(hostile(pick, requests, key, mayCost));
    const answer = makeAnswer(request, 'approve', key, Date.now());
    sent.push(canonicalize(answer.envelope));
    await p.actguard.client.workflow.getHandle(workflowIdOf(request.run)).signal('approval', answer);
  };
  for (let i = 0; i < count + valid; i += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count + valid - i) }, (_, n) => one(i + n)));
  }
  const results = await Promise.all(
    sessions.flatMap((s) => Array.from({ length: MAX_OPEN_ASKS }, (_, i) => settled(() => s.outcome(`p${i}`)))),
  );
  expect(results.filter((r) => r.kind !== 'done')).toEqual([]);
  expect(new Set(paid).size).toBe(valid);
  expect(paid).toHaveLength(valid);
  const ends = sessions.map(async (s) => {
    await s.close();
    return (await p.actguard.client.workflow.getHandle(workflowIdOf(s.run)).result()) as { status: string };
  });
  expect((await Promise.all(ends)).filter(({ status }) => status !== 'stopped')).toEqual([]);
  // those that counted are the ones that were signed for it, not look-alikes of theirs
  const counted = await p.db.query<{ envelope: Json }>('select envelope from actguard.answers');
  expect(counted.map(({ envelope }) => canonicalize(envelope)).sort()).toEqual(sent.sort());
  const [rows] = await p.db.query<{ states: string[]; answers: number; invalid: number; wrong: number; most: number }>(
    `select array(select distinct state from actguard.approvals) as states,
       (select count(*)::int from actguard.answers) as answers,
       (select count(*)::int from actguard.entries where kind = 'approval.invalid') as invalid,
       (select count(*)::int from actguard.entries where kind = 'command.accepted') as wrong,
       (select max(invalid_answers) from actguard.approvals) as most`,
  );
  expect(rows).toMatchObject({ states: ['consumed'], answers: valid, wrong: 0 });
  expect(rows?.invalid).toBeGreaterThan(valid); // the forgeries reached a worker, and stand on record
  expect(rows?.most).toBeLessThanOrEqual(MAX_REJECTED_ANSWERS);
}

async function settled<T extends { readonly kind: string }>(look: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const seen = await look();
    if (seen.kind !== 'pending' || tries > 600) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('P4 P7 2,000 raw signals of up to 4 KB with 100 valid ones among them: no run is wedged, those 100 count, nothing else does', async () => {
  const p = await platform({ tools: [pay], policy, config });
  try {
    await flood(p, 2_000, 100);
  } finally {
    await p.end();
  }
}, 180_000);

test('P4 P5 P7 the same where payloads are encrypted: 400, by somebody without the key, and 20 valid ones', async () => {
  const payloadKeys = join(folder, 'keys.json');
  writePayloadKeys(payloadKeys, addPayloadKey([], null, false));
  const p = await platform({ tools: [pay], policy, config, payloadKeys });
  try {
    await flood(p, 400, 20);
  } finally {
    await p.end();
  }
}, 300_000);
