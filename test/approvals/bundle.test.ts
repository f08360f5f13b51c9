import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { enrol } from '../../activities/directory.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { exportBundle, verifyBundleText } from '../../client/bundle.ts';
import { generateKey, type SigningKey } from '../../client/keys.ts';
import { approvalStatement, type ApprovalRequest } from '../../governance/approval.ts';
import { type ApprovalBundle, foreignChecks } from '../../governance/bundle.ts';
import { APPROVAL_PAYLOAD_TYPE } from '../../governance/dsse.ts';
import type { Json } from '../../governance/json.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { newPasskey, passkeyEnrolment, passkeyEnvelope, RP } from '../support/passkey.ts';
import { tlogverify } from '../support/tlogverify.ts';
import { TENANT, ask, askInput, gate, makeDeps, openRun, person } from './fixture.ts';

let fresh: FreshDatabase;
let deps: Deps;
let bob: SigningKey;
let request: ApprovalRequest;
let bundle: ApprovalBundle;
const root = generateKey('');
const pat = newPasskey('pat');

beforeAll(async () => {
  fresh = await freshDatabase();
  deps = { ...makeDeps(fresh.db, [root.keyId]), passkeys: RP };
  bob = await person(deps, root, 'bob', ['finance']);
  await enrol(deps, passkeyEnrolment(pat, root, { tenant: TENANT, roles: ['finance'] }), []);
  request = await ask(deps, askInput(await openRun(fresh.db), 'c1', [gate('two', ['finance'], 2)]));
  const statement = approvalStatement(request, 'approve', 'pat', pat.keyId, new Date().toISOString());
  for (const envelope of [
    makeAnswer(request, 'approve', bob, Date.now()).envelope,
    passkeyEnvelope(APPROVAL_PAYLOAD_TYPE, statement, pat),
  ]) {
    const recorded = await recordAnswer(deps, {
      v: 1,
      run: request.run,
      entries: [],
      approvalId: request.approvalId,
      envelope,
    });
    if (recorded.kind === 'rejected') throw new Error(recorded.reason);
  }
  bundle = await exportBundle(fresh.db, request.approvalId);
});
afterAll(() => fresh.drop());

const reason = (change: (b: ApprovalBundle) => unknown, roots: readonly string[] | null = [root.keyId]): string => {
  const copy = structuredClone(bundle);
  const changed = (change(copy) ?? copy) as ApprovalBundle;
  try {
    verifyBundleText(JSON.stringify(changed), roots);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
const text = (b: ApprovalBundle, to: string, by: string): ApprovalBundle =>
  JSON.parse(JSON.stringify(b).replaceAll(to, by)) as ApprovalBundle;

test('P4 P6 a bundle of both kinds of signature is verified offline, against roots or naming them', () => {
  const { verified } = verifyBundleText(JSON.stringify(bundle), [root.keyId]);
  expect(verified).toMatchObject({ approved: true, rejected: false, roots: [root.keyId], contentErased: false });
  expect(verified.answers.map((a) => [a.key.person, a.key.kind])).toEqual([['bob', 'ed25519'], ['pat', 'webauthn']]); // prettier-ignore
  expect(verifyBundleText(JSON.stringify(bundle), null).verified.roots).toEqual([root.keyId]);
  expect(reason((b) => ({ ...b, content: null }))).toBe(''); // erased: signatures hold
});

test.each<[string, RegExp, (b: ApprovalBundle) => unknown, (readonly string[])?]>([
  ['another root', /root/, (b) => b, [generateKey('').keyId]],
  ['changed arguments', /arguments/, (b) => text(b, '41200', '41201')],
  ['changed request', /another request/, (b) => ({ ...b, request: b.request.replace('payments.refund', 'payments.credit') })],
  ['another origin', /another page/, (b) => ({ ...b, passkeys: { id: 'localhost', origins: ['https://evil.example'] } })],
  ['another relying party', /another page/, (b) => ({ ...b, passkeys: { ...RP, id: 'evil.example' } })],
  ['an answer of another person’s key', /another/, (b) => ({ ...b, answers: [{ ...b.answers[0], key: b.answers[1]?.key }] })],
  ['one answer twice', /twice/, (b) => ({ ...b, answers: [b.answers[0], b.answers[0]] })],
  ['no answer', /nobody answered/, (b) => ({ ...b, answers: [] })],
  ['answered after the expiry', /expired/, (b) => ({ ...b, answers: b.answers.map((a) => ({ ...a, answeredAt: '2099-01-01T00:00:00.000Z' })) })],
  ['revoked before', /revoked/, (b) => ({ ...b, answers: b.answers.map((a) => ({ ...a, key: { ...a.key, revokedAt: '2020-01-01T00:00:00.000Z' } })) })],
  ['a field more', /may not have/, (b) => ({ ...b, note: 'x' })],
])('P4 P6 %s: it proves nothing', (_name, expected, change, roots) => {
  expect(reason(change, roots ?? [root.keyId])).toMatch(expected);
}); // prettier-ignore

test('P4 P6 half of the answers is not enough, and says so', () => {
  const half = { ...bundle, answers: bundle.answers.slice(0, 1) };
  expect(verifyBundleText(JSON.stringify(half), [root.keyId]).verified).toMatchObject({
    approved: false,
    rejected: false,
  });
});

test('P6 an independent verifier accepts every signature of the bundle, and none of seven that were tampered with', () => {
  const good = foreignChecks(bundle) as { webauthn: { [f: string]: Json }[]; dsse: { [f: string]: Json }[] };
  expect([good.webauthn.length, good.dsse.length]).toEqual([2, 3]); // two assertions; bob's enrolment and answer, pat's countersignature
  const [result] = tlogverify([good]);
  expect(result?.checks.filter((check) => !check.ok)).toEqual([]);
  expect(result?.ok).toBe(true);
  const flipped = (value: Json | undefined): string => {
    const bytes = Buffer.from(String(value), 'base64');
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    return bytes.toString('base64');
  };
  const [assertion, envelope] = [good.webauthn[1] ?? {}, good.dsse[1] ?? {}];
  const tampered = [
    ...['request', 'signature', 'authenticator_data', 'public_key'].map((field) => ({ webauthn: [{ ...assertion, [field]: flipped(assertion[field]) }] })),
    { webauthn: [{ ...assertion, origins: ['https://evil.example'] }] },
    { webauthn: [{ ...assertion, rp_id: 'evil.example' }] },
    { dsse: [{ ...envelope, envelope: { ...(envelope['envelope'] as object), payload: flipped((envelope['envelope'] as { payload: string }).payload) } }] },
  ]; // prettier-ignore
  expect(tlogverify(tampered).map((r) => r.ok)).toEqual(tampered.map(() => false));
});
