import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyAuthenticationResponse } from '@simplewebauthn/server';
import { loadGrantedApproval, recordAnswer } from '../../activities/approvals.ts';
import type { Deps } from '../../activities/deps.ts';
import { enrol } from '../../activities/directory.ts';
import { verifyPasskey } from '../../activities/signatures.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { generateKey, signEnvelope } from '../../client/keys.ts';
import { type ApprovalRequest, approvalStatement } from '../../governance/approval.ts';
import { APPROVAL_PAYLOAD_TYPE, SESSION_PAYLOAD_TYPE, preAuthEncoding } from '../../governance/dsse.ts';
import type { Json } from '../../governance/json.ts';
import { challengeOf } from '../../governance/webauthn.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import {
  type Bent,
  type Passkey,
  PAGE,
  RP,
  assertionOf,
  newPasskey,
  passkeyEnrolment,
  passkeyEnvelope,
  pendingEnrolment,
} from '../support/passkey.ts';
import { TENANT, ask, askInput, entries, gate, makeDeps, openRun, person, stateOf } from './fixture.ts';

let fresh: FreshDatabase;
let deps: Deps;
const root = generateKey('');
const bob = newPasskey('bob');
const eve = newPasskey('eve', 'EdDSA');
const ron = newPasskey('ron', 'RS256');
const clerk = newPasskey('clerk');
const alice = newPasskey('alice');

beforeAll(async () => {
  fresh = await freshDatabase();
  deps = { ...makeDeps(fresh.db, [root.keyId]), passkeys: RP };
  for (const key of [bob, eve, ron, alice]) await enrolPasskey(key, ['finance']);
  await enrolPasskey(clerk, ['support']);
});
afterAll(() => fresh.drop());

const enrolPasskey = (key: Passkey, roles: string[]) =>
  enrol(deps, passkeyEnrolment(key, root, { tenant: TENANT, roles }), []);
const statementOf = (request: ApprovalRequest, key: Passkey, decision: 'approve' | 'reject' = 'approve') =>
  approvalStatement(request, decision, key.person, key.keyId, new Date().toISOString());
const answerTo = (request: ApprovalRequest, key: Passkey, bent: Bent = {}): Json =>
  passkeyEnvelope(APPROVAL_PAYLOAD_TYPE, statementOf(request, key), key, bent);
const give = (request: ApprovalRequest, envelope: Json, more: Partial<Deps> = {}, delivery?: string) =>
  recordAnswer(
    { ...deps, ...more },
    { v: 1, run: request.run, entries: [], approvalId: request.approvalId, envelope },
    delivery,
  );
const newAsk = async (...gates: Parameters<typeof gate>[]) =>
  ask(deps, askInput(await openRun(fresh.db), 'c1', gates.length === 0 ? [gate('g')] : gates.map((g) => gate(...g))));

describe('P4 a passkey signs the same statement on the same path as a key file', () => {
  test.each([bob, eve, ron])('P4 a yes by $alg grants, proven again before the claim', async (key) => {
    const request = await newAsk();
    expect(await give(request, answerTo(request, key))).toMatchObject({ kind: 'accepted', complete: true });
    expect(await loadGrantedApproval(deps, request.approvalId, request.run, request.call)).toMatchObject({
      people: [key.person],
    });
    // somewhere else nothing is proven: another page, or none
    for (const passkeys of [
      { id: 'approve.example', origins: [PAGE] },
      { id: RP.id, origins: ['https://approve.example'] },
      null,
    ]) {
      expect(
        await loadGrantedApproval({ ...deps, passkeys }, request.approvalId, request.run, request.call),
      ).toBeNull();
    }
  });

  test('P4 SimpleWebAuthn accepts the same assertion over the same challenge', async () => {
    const request = await newAsk();
    const pae = preAuthEncoding(APPROVAL_PAYLOAD_TYPE, statementOf(request, bob));
    const { assertion, sig } = assertionOf(pae, bob);
    const url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
    const id = url(bob.credentialId);
    const check = (challenge: string) =>
      verifyAuthenticationResponse({
        response: {
          id, rawId: id, type: 'public-key', clientExtensionResults: {},
          response: { authenticatorData: url(assertion.authenticatorData), clientDataJSON: url(assertion.clientDataJSON), signature: url(sig) },
        },
        expectedChallenge: challenge, expectedOrigin: PAGE, expectedRPID: RP.id, requireUserVerification: true,
        credential: { id, publicKey: Uint8Array.from(bob.publicKey), counter: 0 },
      }); // prettier-ignore
    expect((await check(challengeOf(pae))).verified).toBe(true);
    await expect(check(challengeOf(new Uint8Array(3)))).rejects.toThrow('challenge');
  });

  test('P4 `@key("webauthn")` counts passkeys only; a key file of the same person does not pass', async () => {
    const file = await person(deps, root, 'fred', ['finance']);
    const request = await newAsk(['money', ['finance'], 1, 'webauthn']);
    expect(await give(request, makeAnswer(request, 'approve', file, Date.now()).envelope)).toMatchObject({
      kind: 'rejected',
      reason: 'this ask is answered with a passkey only',
    });
    expect(await give(request, answerTo(request, bob))).toMatchObject({ kind: 'accepted', complete: true });
    // with an open gate beside it the key file counts, for that gate only
    const two = await newAsk(['money', ['finance'], 1, 'webauthn'], ['any', ['finance'], 1]);
    expect(await give(two, makeAnswer(two, 'approve', file, Date.now()).envelope)).toMatchObject({ complete: false });
    expect(await give(two, answerTo(two, bob))).toMatchObject({ complete: true });
  });

  test('P4 the entry keeps everything that a stranger needs: authenticator data, client data, signature', async () => {
    const request = await newAsk();
    const envelope = answerTo(request, bob);
    await give(request, envelope);
    const [row] = await fresh.db.query<{ content: { envelope: Json } }>(
      `select c.content from actguard.entries e join actguard.entry_contents c on c.entry_id = e.id where e.run = $1 and e.kind = 'approval.answered'`,
      [request.run],
    );
    expect(row?.content.envelope).toEqual(envelope);
  });
});

describe('P4 P7 assertions that do not count', () => {
  const stranger = newPasskey('bob');
  const bad: { name: string; reason: RegExp; make: (r: ApprovalRequest, other: ApprovalRequest) => Json }[] = [
    { name: 'no user verification', reason: /did not verify its user/, make: (r) => answerTo(r, bob, { flags: 0x01 }) },
    { name: 'nobody present', reason: /nobody was present/, make: (r) => answerTo(r, bob, { flags: 0x04 }) },
    { name: 'another origin', reason: /another page/, make: (r) => answerTo(r, bob, { origin: 'https://approve.example' }) },
    { name: 'an origin that starts alike', reason: /another page/, make: (r) => answerTo(r, bob, { origin: `${PAGE}.evil.example` }) },
    { name: 'another relying party', reason: /another page/, make: (r) => answerTo(r, bob, { rpId: 'evil.example' }) },
    { name: 'inside a frame', reason: /inside another page/, make: (r) => answerTo(r, bob, { client: { crossOrigin: true } }) },
    { name: 'with a top origin', reason: /inside another page/, make: (r) => answerTo(r, bob, { client: { topOrigin: 'https://evil.example' } }) },
    { name: 'a registration', reason: /not a signature/, make: (r) => answerTo(r, bob, { type: 'webauthn.create' }) },
    { name: 'another challenge', reason: /signed something else/, make: (r) => answerTo(r, bob, { challenge: challengeOf(new Uint8Array(32)) }) },
    { name: 'the challenge of a sign-in', reason: /signed something else/, make: (r) => answerTo(r, bob, { challenge: challengeOf(preAuthEncoding(SESSION_PAYLOAD_TYPE, statementOf(r, bob))) }) },
    { name: 'the other decision', reason: /signed something else/, make: (r) => { const { assertion } = assertionOf(preAuthEncoding(APPROVAL_PAYLOAD_TYPE, statementOf(r, bob, 'reject')), bob); return answerTo(r, bob, { challenge: JSON.parse(Buffer.from(assertion.clientDataJSON).toString()).challenge as string }); } },
    { name: 'signed by another passkey', reason: /does not verify/, make: (r) => answerTo(r, bob, { signer: stranger }) },
    { name: 'extensions that nobody asked for', reason: /another length/, make: (r) => answerTo(r, bob, { flags: 0x85, extra: new Uint8Array([0xa0]) }) },
    { name: 'an attested key inside', reason: /more than an assertion/, make: (r) => answerTo(r, bob, { flags: 0x45 }) },
    { name: 'backed up and not eligible', reason: /contradict/, make: (r) => answerTo(r, bob, { flags: 0x15 }) },
    { name: 'an unknown passkey', reason: /key is unknown/, make: (r) => answerTo(r, stranger) },
    { name: 'wrong role', reason: /no role/, make: (r) => answerTo(r, clerk) },
    { name: 'self-approval', reason: /nobody approves what they asked for/, make: (r) => answerTo(r, alice) },
    { name: 'an answer to another ask', reason: /another request/, make: (_r, other) => answerTo(other, bob) },
    { name: 'a plain signature under a passkey', reason: /assertion is missing/, make: (r) => signEnvelope(APPROVAL_PAYLOAD_TYPE, statementOf(r, bob), [{ ...generateKey('bob'), keyId: bob.keyId }]) },
    { name: 'client data too long', reason: /client data has more/, make: (r) => answerTo(r, bob, { client: { pad: 'x'.repeat(2000) } }) },
  ]; // prettier-ignore

  test.each(bad)('P4 $name', async ({ make, reason }) => {
    const [request, other] = [await newAsk(), await newAsk()];
    expect(await give(request, make(request, other))).toMatchObject({
      kind: 'rejected',
      reason: expect.stringMatching(reason) as string,
    });
    expect(await stateOf(fresh.db, request.approvalId)).toBe('open');
    expect((await entries(fresh.db, request.run)).at(-1)?.kind).toBe('approval.invalid');
    expect(await give(request, answerTo(request, bob))).toMatchObject({ kind: 'accepted' });
  });

  test('P4 an assertion with a key file’s id, and a key file’s signature dressed up as an assertion', async () => {
    const file = await person(deps, root, 'gina', ['finance']);
    const request = await newAsk();
    const statement = approvalStatement(request, 'approve', 'gina', file.keyId, new Date().toISOString());
    const envelope = passkeyEnvelope(APPROVAL_PAYLOAD_TYPE, statement, { ...bob, keyId: file.keyId });
    expect(await give(request, envelope)).toMatchObject({ kind: 'rejected', reason: 'the key is no passkey' });
  });
});

describe('P4 sign counts', () => {
  test('P4 a count that came before or does not grow with time betrays a copy; synced passkeys count nothing', async () => {
    const hana = newPasskey('hana', 'ES256', 7);
    await enrolPasskey(hana, ['finance']);
    const [one, two, three, four] = [await newAsk(), await newAsk(), await newAsk(), await newAsk()];
    const first = answerTo(one, hana, { count: 20 });
    expect(await give(one, first, {}, 'd/1')).toMatchObject({ kind: 'accepted' });
    expect(await give(one, first, {}, 'd/1')).toMatchObject({ kind: 'accepted' }); // a retry
    expect(await give(two, answerTo(two, hana, { count: 20 }))).toMatchObject({
      reason: expect.stringMatching(/was copied/) as string,
    });
    expect(await give(three, answerTo(three, hana, { count: 19 }))).toMatchObject({ kind: 'rejected' });
    expect(await give(three, answerTo(three, hana, { count: 21 }))).toMatchObject({ kind: 'accepted' });
    expect(await give(four, answerTo(four, bob))).toMatchObject({ kind: 'accepted' });
  });

  test('P4 answers that overtake each other on their way both count', async () => {
    const ivan = newPasskey('ivan', 'ES256', 1);
    await enrolPasskey(ivan, ['finance']);
    const [one, two] = [await newAsk(), await newAsk()];
    const early = answerTo(one, ivan, { count: 5 });
    await new Promise((resolve) => setImmediate(resolve));
    const at = new Date(Date.now() + 10).toISOString();
    const late = passkeyEnvelope(
      APPROVAL_PAYLOAD_TYPE,
      approvalStatement(two, 'approve', 'ivan', ivan.keyId, at),
      ivan,
      { count: 6 },
    );
    expect(await give(two, late)).toMatchObject({ kind: 'accepted' });
    expect(await give(one, early)).toMatchObject({ kind: 'accepted' });
  });
});

describe('P4 enrolments of passkeys', () => {
  test.each<[string, RegExp, (key: Passkey) => Json]>([
    ['without user verification', /did not verify/, (k) => passkeyEnrolment(k, root, { tenant: TENANT, roles: ['finance'] }, { flags: 1 })],
    ['for another page', /another page/, (k) => passkeyEnrolment(k, root, { tenant: TENANT, roles: ['finance'], rpId: 'evil.example' })],
    ['signed by another passkey', /possession/, (k) => passkeyEnrolment(k, root, { tenant: TENANT, roles: ['finance'] }, { signer: newPasskey('x') })],
    ['pending: no administrator yet', /two signatures/, (k) => pendingEnrolment(k, root, { tenant: TENANT, roles: ['finance'] })],
    ['countersigned by somebody who is no root', /does not end in a root/, (k) => passkeyEnrolment(k, generateKey(''), { tenant: TENANT, roles: ['finance'] })],
  ])('P4 %s', async (_name, reason, make) => {
    await expect(enrol(deps, make(newPasskey('nora')), [])).rejects.toThrow(reason);
  }); // prettier-ignore

  test('P4 a passkey enrols nobody: it is no link of a chain', async () => {
    const boss = newPasskey('boss');
    await enrol(deps, passkeyEnrolment(boss, root, { tenant: TENANT, roles: ['admin'] }), []);
    const forged = { ...generateKey('boss'), keyId: boss.keyId };
    await expect(
      enrol(deps, passkeyEnrolment(newPasskey('pal'), forged, { tenant: TENANT, roles: ['finance'] }), []),
    ).rejects.toThrow();
  });

  test('P4 keys of other kinds, sizes and curves verify nothing', () => {
    const message = new Uint8Array([1]);
    const [cose, zeros] = [bob.publicKey, new Uint8Array(64)];
    for (const key of [
      new Uint8Array(),
      zeros,
      cose.subarray(0, 40),
      Uint8Array.from([...cose.subarray(0, 4), 0x28, ...cose.subarray(5)]),
    ]) {
      expect(verifyPasskey(key, message, zeros)).toBe(false);
    }
  });
});
