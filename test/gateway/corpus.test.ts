/** Ten thousand answers that must not count, with a hundred that must among them, through the page's door and the client's. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordAnswer } from '../../activities/approvals.ts';
import { enrol } from '../../activities/directory.ts';
import { checkAnswer } from '../../client/check-answer.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { generateKey, signEnvelope, type SigningKey } from '../../client/keys.ts';
import { approvalStatement, type ApprovalRequest } from '../../governance/approval.ts';
import { canonicalize } from '../../governance/canonical.ts';
import { APPROVAL_PAYLOAD_TYPE, SESSION_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { person, TENANT } from '../approvals/fixture.ts';
import { type Bent, newPasskey, type Passkey, passkeyEnrolment, passkeyEnvelope } from '../support/passkey.ts';
import { numbers } from '../support/numbers.ts';
import { openDesk, type Desk } from './fixture.ts';
import { visit, type Visit } from './visit.ts';

const FORGED = 10_000;
const VALID = 100;
const SEED = 20_261_124;
const AT_ONCE = 8;

let desk: Desk;
let page: Visit;
let file: SigningKey;
const passkeys = Array.from({ length: 4 }, (_, i) => newPasskey(`p${i}`, i === 3 ? 'EdDSA' : 'ES256'));
const clerk = newPasskey('clerk');
const alice = newPasskey('alice');
const foreign = newPasskey('mallory');
const stranger = newPasskey('p0');
const targets: ApprovalRequest[] = [];
const asked: ApprovalRequest[] = [];
let expired: ApprovalRequest;

beforeAll(async () => {
  desk = await openDesk();
  page = visit(desk.gateway);
  file = await person(desk.deps, desk.root, 'fay', ['finance']);
  const enrolled = (key: Passkey, roles: string[], tenant = TENANT) =>
    enrol(desk.deps, passkeyEnrolment(key, desk.root, { tenant, roles }, { origin: desk.origin }), []);
  for (const key of [...passkeys, alice]) await enrolled(key, ['finance']);
  await enrolled(clerk, ['support']);
  await enrolled(foreign, ['finance'], 'globex');
  for (let i = 0; i < VALID; i += 1) asked.push(await desk.ask());
  for (let i = 0; i < 20; i += 1) targets.push(await desk.ask());
  expired = await desk.ask();
  await desk.fresh.db.query(`update actguard.approvals set expires_at = clock_timestamp() where approval = $1`, [
    expired.approvalId,
  ]);
}, 300_000);
afterAll(() => desk.end());

const bent = (more: Bent = {}): Bent => ({ origin: desk.origin, ...more });
const statement = (
  request: ApprovalRequest,
  who: { person: string; keyId: string },
  decision: 'approve' | 'reject' = 'approve',
) => approvalStatement(request, decision, who.person, who.keyId, new Date().toISOString());
const by = (key: Passkey, request: ApprovalRequest, more: Bent = {}): Json =>
  passkeyEnvelope(APPROVAL_PAYLOAD_TYPE, statement(request, key), key, bent(more));
const resigned = (key: Passkey, request: ApprovalRequest, change: JsonObject): Json => {
  const value = JSON.parse(new TextDecoder().decode(statement(request, key))) as JsonObject;
  return passkeyEnvelope(
    APPROVAL_PAYLOAD_TYPE,
    new TextEncoder().encode(canonicalize({ ...value, ...change })),
    key,
    bent(),
  );
};

type Item = { readonly request: ApprovalRequest; readonly envelope: Json };
type Pick = (below: number) => number;

/** Flips a bit of one base64 field somewhere in an envelope. */
function flipped(envelope: Json, pick: Pick): Json {
  const copy = structuredClone(envelope) as { payload: string; signatures: { [field: string]: string }[] };
  const signature = copy.signatures[0] ?? {};
  const field = ['payload', 'sig', 'authenticatorData', 'clientDataJSON'].filter(
    (f) => f === 'payload' || f in signature,
  );
  const name = field[pick(field.length)] ?? 'payload';
  const bytes = Buffer.from(name === 'payload' ? copy.payload : (signature[name] ?? ''), 'base64');
  const at = pick(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << pick(8));
  if (name === 'payload') copy.payload = bytes.toString('base64');
  else signature[name] = bytes.toString('base64');
  return copy;
}

function forge(pick: Pick, answered: readonly Item[]): Item {
  const request = targets[pick(targets.length)] as ApprovalRequest;
  const other = targets[(targets.indexOf(request) + 1 + pick(targets.length - 1)) % targets.length] as ApprovalRequest;
  const key = passkeys[pick(passkeys.length)] as Passkey;
  const fromFile = (): Json => makeAnswer(request, 'approve', file, Date.now()).envelope;
  const makers: (() => Json)[] = [
    () => flipped(by(key, request), pick),
    () => flipped(fromFile(), pick),
    () => by(key, other),
    () => by(key, request, { signer: stranger }),
    () => by(stranger, request),
    () => by(clerk, request),
    () => by(alice, request),
    () => by(foreign, request),
    () => by(key, request, { flags: pick(4) }), // never both present and verified
    () => by(key, request, { origin: `https://${pick(1e6)}.example` }),
    () => by(key, request, { rpId: 'evil.example' }),
    () => by(key, request, { type: 'webauthn.create' }),
    () => by(key, request, { client: { crossOrigin: true } }),
    () => resigned(key, request, { decision: ['maybe', 'Approve', '', 'yes'][pick(4)] as string }),
    () => resigned(key, request, { person: 'fay' }),
    () => resigned(key, request, { key: file.keyId }),
    () => resigned(key, request, { [`x${pick(100)}`]: 1 }),
    () => resigned(key, request, { request: { ...(request as unknown as JsonObject), costMicros: pick(1e6) + 1 } }),
    () => resigned(key, request, { request: { ...(request as unknown as JsonObject), expiresAt: '2099-01-01T00:00:00.000Z' } }),
    () => resigned(key, request, { request: { ...(request as unknown as JsonObject), argsCommitment: 'ab'.repeat(32) } }),
    () => passkeyEnvelope(SESSION_PAYLOAD_TYPE, statement(request, key), key, bent()),
    () => ({ ...(passkeyEnvelope(SESSION_PAYLOAD_TYPE, statement(request, key), key, bent()) as JsonObject), payloadType: APPROVAL_PAYLOAD_TYPE }),
    () => signEnvelope(APPROVAL_PAYLOAD_TYPE, statement(request, key), [{ ...generateKey('x'), keyId: key.keyId }]),
    () => signEnvelope(APPROVAL_PAYLOAD_TYPE, statement(request, file), [file, generateKey('y')]),
    () => passkeyEnvelope(APPROVAL_PAYLOAD_TYPE, statement(request, file), { ...key, keyId: file.keyId }, bent()),
    () => [null, 1, 'approve', [], {}, { payload: 'AA==' }, [[[[]]]], { envelope: fromFile() }][pick(8)] as Json,
    () => JSON.stringify(by(key, request)).slice(0, 100 + pick(200)),
    () => ({ ...(by(key, request) as JsonObject), payload: 'A'.repeat(4 * (5_000 + pick(100))) }),
  ]; // prettier-ignore
  const kind = pick(makers.length + 2);
  if (kind === makers.length) return { request: expired, envelope: by(key, expired) };
  const replay = answered[pick(Math.max(answered.length, 1))];
  if (kind === makers.length + 1) return replay ?? { request, envelope: by(key, other) };
  try {
    return { request, envelope: (makers[kind] as () => Json)() };
  } catch {
    return { request, envelope: 'no envelope at all' };
  }
}

test('P4 P7 of 10,000 forged, replayed, mutated and mis-addressed answers none counts and none leaves a trace; 100 valid ones count', async () => {
  const pick = numbers(SEED);
  const cookies = await Promise.all(passkeys.map((key) => page.signIn(key)));
  const places = new Set<number>();
  while (places.size < VALID) places.add(pick(FORGED + VALID));
  const answered: Item[] = [];
  const refusals = new Map<string, number>();
  let given = 0;
  const accepted = { valid: 0, forged: 0 };
  const throughPage = async ({ request, envelope }: Item, cookie: string): Promise<boolean> => {
    const response = await page.post(`/api/asks/${request.approvalId}/answer`, { envelope }, cookie);
    const { code } = (await response.json()) as { code?: string };
    if (response.status !== 200) refusals.set(code ?? '?', (refusals.get(code ?? '?') ?? 0) + 1);
    return response.status === 200;
  };
  const throughClient = async ({ request, envelope }: Item): Promise<boolean> => {
    try {
      await checkAnswer(desk.fresh.db, request.approvalId, envelope, { passkeys: desk.passkeys });
    } catch {
      return false;
    }
    const input = { v: 1 as const, run: request.run, entries: [], approvalId: request.approvalId, envelope };
    return (await recordAnswer(desk.deps, input)).kind === 'accepted';
  };
  const one = async (i: number): Promise<void> => {
    const valid = places.has(i);
    const request = valid ? (asked[given++] as ApprovalRequest) : null;
    const signer = passkeys[i % passkeys.length] as Passkey;
    const item = request
      ? {
          request,
          envelope: i % 3 === 0 ? makeAnswer(request, 'approve', file, Date.now()).envelope : by(signer, request),
        }
      : forge(pick, answered);
    const came = i % 4 === 3 ? await throughClient(item) : await throughPage(item, cookies[i % cookies.length] ?? '');
    if (came) accepted[valid ? 'valid' : 'forged'] += 1;
    if (came && valid) answered.push(item);
  };
  for (let i = 0; i < FORGED + VALID; i += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, FORGED + VALID - i) }, (_, n) => one(i + n)));
  }
  expect(accepted).toEqual({ valid: VALID, forged: 0 });
  expect([...refusals.keys()].sort()).toEqual(
    ['APPROVAL_INVALID', 'ARGUMENTS_INVALID', 'CONFLICT'].filter((c) => refusals.has(c)),
  );
  const states = await desk.fresh.db.query<{ state: string; n: number }>(
    'select state, count(*)::int as n from actguard.approvals group by state order by state',
  );
  expect(states).toEqual([{ state: 'granted', n: VALID }, { state: 'open', n: targets.length + 1 }]); // prettier-ignore
  const traces = await desk.fresh.db.query(`select 1 from actguard.entries where kind = 'approval.invalid'`);
  expect(traces).toEqual([]);
}, 300_000);
