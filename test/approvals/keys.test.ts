import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Point } from '@noble/ed25519';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isSoundKey, signatureChecks, verifySignature } from '../../activities/signatures.ts';
import { makeAnswer } from '../../client/approvals.ts';
import { devApprover } from '../../client/dev-approver.ts';
import { makeEnrolment } from '../../client/enrolment.ts';
import {
  generateKey,
  readKeyFile,
  readKeyHead,
  signEnvelope,
  writeKeyFile,
  type SigningKey,
} from '../../client/keys.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import { fromBase64, toBase64 } from '../../governance/base64.ts';
import { APPROVAL_PAYLOAD_TYPE, ENROLMENT_PAYLOAD_TYPE, makeEnvelope, preAuthEncoding } from '../../governance/dsse.ts';
import { enrolmentStatement, verifyEnrolment, type Enrolment, type Trust } from '../../governance/enrolment.ts';
import { sha256Hex } from '../../governance/digest.ts';
import type { Json } from '../../governance/json.ts';

const NOW = Date.parse('2026-11-24T08:00:00.000Z');
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'actguard-keys-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const request: ApprovalRequest = {
  v: 1,
  approvalId: '01KAPPROVAL',
  nonce: '0f'.repeat(16),
  tenant: 'acme',
  run: '01KRUN',
  call: 'c1',
  tool: 'payments.refund',
  toolDigest: 'cd'.repeat(32),
  argsCommitment: 'aa'.repeat(32),
  provenanceCommitment: '0'.repeat(64),
  shownCommitment: 'bb'.repeat(32),
  reasons: ['refunds-over-100'],
  gates: [{ id: 'refunds-over-100', sha256: 'ab'.repeat(32), roles: ['finance'], quorum: 1, key: 'any' }],
  facts: [],
  costMicros: 0,
  requester: { user: 'alice', agent: 'desk' },
  requestedAt: '2026-11-24T08:00:00.000Z',
  expiresAt: '2026-11-25T08:00:00.000Z',
};

describe('P4 envelopes', () => {
  test('P4 the PAE of the DSSE specification', () => {
    const pae = preAuthEncoding('http://example.com/HelloWorld', new TextEncoder().encode('hello world'));
    expect(new TextDecoder().decode(pae)).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  });

  test('P4 base64 has one text for one byte string', () => {
    for (let length = 0; length < 70; length += 1) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + length) % 256);
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
      expect(fromBase64(toBase64(bytes))).toEqual(bytes);
    }
    for (const text of ['QQ', 'QR==', 'QUJ=', 'QQ=', '=', '====', 'Q===', 'QQ-_', 'QUJD ', 'QQ==QQ==', 'QUJD\n'])
      expect(fromBase64(text)).toBeNull();
  });

  test('P4 P6 a stranger with the Go verifier accepts our envelope and refuses it altered', () => {
    const verifier = goVerifier(directory);
    const key = generateKey('bob');
    const { envelope } = makeAnswer(request, 'approve', key, NOW);
    const payload = fromBase64((envelope as { payload: string }).payload)!;
    const check = (e: Json, expect: string, more: object = {}): string =>
      JSON.stringify({
        dsse: [{
          envelope: e, payload_type: APPROVAL_PAYLOAD_TYPE, keys: [{ keyid: key.keyId, ed25519: toBase64(key.publicKey) }], threshold: 1,
          payload_sha256: sha256Hex(payload), request_has: { '/request/run': '01KRUN', '/decision': 'approve', '/person': 'bob' }, ...more,
        }],
        expect,
      }); // prettier-ignore
    const other = makeAnswer(request, 'reject', key, NOW).envelope as { payload: string };
    const swapped = { ...(envelope as object), payload: other.payload } as Json;
    const file = join(directory, 'bundle.jsonl');
    writeFileSync(
      file,
      [
        check(envelope, 'pass'),
        check(swapped, 'fail'),
        check(envelope, 'fail', { keys: [{ keyid: key.keyId, ed25519: toBase64(generateKey('x').publicKey) }] }),
        check(envelope, 'fail', { request_has: { '/decision': 'reject' } }),
      ].join('\n'),
    );
    const lines = execFileSync(verifier, [file], { encoding: 'utf8' }).trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { ok: boolean }).ok)).toEqual([true, true, true, true]);
  });
});

describe('P4 key files', () => {
  test('P4 encrypted by passphrase, readable by the owner only, never overwritten', () => {
    const file = join(directory, 'bob.key');
    const key = generateKey('bob');
    writeKeyFile(file, key, 'correct horse');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).not.toContain('privateKey');
    expect(readKeyHead(file)).toEqual({
      person: 'bob',
      dev: false,
      keyId: key.keyId,
      publicKey: key.publicKey,
      encrypted: true,
    });
    expect(readKeyFile(file, 'correct horse').keyId).toBe(key.keyId);
    expect(() => readKeyFile(file, 'wrong')).toThrow(/does not open/);
    expect(() => readKeyFile(file, null)).toThrow(/is encrypted/);
    expect(() => writeKeyFile(file, key, null)).toThrow(/exists already/);
    writeFileSync(file, readFileSync(file, 'utf8').replace('"bob"', '"carol"'));
    expect(() => readKeyFile(file, 'correct horse')).toThrow(/does not open/);
  });

  test('P4 what is no key file is refused', () => {
    for (const [i, text] of [
      '',
      '{}',
      'null',
      '[]',
      '{"kind":"actguard-key"}',
      '{"kind":"actguard-key","publicKey":"QQ==","privateKey":"QQ=="}',
    ].entries()) {
      const file = join(directory, `bad-${i}.key`);
      writeFileSync(file, text);
      expect(() => readKeyFile(file, null)).toThrow(/is not a key file/);
    }
    expect(() => readKeyFile(join(directory, 'absent'), null)).toThrow(/no readable key file/);
  });

  test('P4 the dev keys are made once and marked', () => {
    const first = devApprover(join(directory, 'dev'), 'ro ot', NOW);
    const again = devApprover(join(directory, 'dev'), 'ro ot', NOW);
    expect(first.approver).toMatchObject({ person: 'dev:ro_ot', dev: true });
    expect(again.approver.keyId).toBe(first.approver.keyId);
    expect(again.rootKeyId).toBe(first.rootKeyId);
    expect(statSync(first.keyFile).mode & 0o777).toBe(0o600);
  });
});

describe('P4 enrolment', () => {
  const root = generateKey('');
  const admin = generateKey('ada');
  const bob = generateKey('bob');
  const trust: Trust = { roots: [root.keyId], dev: false, nowMs: NOW, passkeys: null, checks: signatureChecks };
  const acme = { tenant: 'acme', nowMs: NOW };
  const devRoot: SigningKey = { ...generateKey(''), dev: true };
  const byRoot = makeEnrolment(bob, root, { ...acme, person: 'bob', roles: ['finance'] });
  const byAdmin = makeEnrolment(bob, admin, { ...acme, person: 'bob', roles: ['finance'] });
  const adminLink = makeEnrolment(admin, root, { ...acme, person: 'ada', roles: ['admin'] });
  const devAll = makeEnrolment(bob, devRoot, { tenant: '*', nowMs: NOW, person: 'dev:bob', roles: ['*'] });
  const statement = (more: Partial<Enrolment>): Enrolment => ({
    v: 1, tenant: 'acme', person: 'bob', roles: ['finance'], kind: 'ed25519', publicKey: toBase64(bob.publicKey),
    validFrom: new Date(NOW).toISOString(), validUntil: null, dev: false, signer: toBase64(root.publicKey), ...more,
  }); // prettier-ignore
  const signedBy = (more: Partial<Enrolment>, keys: SigningKey[]): Json =>
    signEnvelope(ENROLMENT_PAYLOAD_TYPE, enrolmentStatement(statement(more)), keys);

  test.each([
    ['by a root', byRoot, [], trust],
    ['by an administrator', byAdmin, [adminLink], trust],
    ['of a dev key on a dev stack', devAll, [], { ...trust, roots: [devRoot.keyId], dev: true }],
  ] as [string, Json, Json[], Trust][])('P4 counts: %s', (_name, envelope, chain, t) => {
    expect(verifyEnrolment(envelope, chain, t)).toMatchObject({ kind: 'ok', value: { keyId: bob.keyId } });
  });

  test.each([
    ['a signer that leads to no root', byAdmin, [], trust, /end in a root/],
    ['an unknown root', byRoot, [], { ...trust, roots: [] }, /end in a root/],
    ['a broken chain', byRoot, [adminLink], trust, /broken/],
    [
      'a signer who is no administrator',
      byAdmin,
      [makeEnrolment(admin, root, { ...acme, person: 'ada', roles: ['finance'] })],
      trust,
      /no administrator/,
    ],
    [
      '`*` is no administrator',
      makeEnrolment(bob, { ...admin, dev: true }, { ...acme, person: 'bob', roles: ['finance'] }),
      [makeEnrolment(admin, devRoot, { ...acme, person: 'ada', roles: ['*'] })],
      { ...trust, roots: [devRoot.keyId], dev: true },
      /no administrator/,
    ],
    [
      'an administrator of another tenant',
      byAdmin,
      [makeEnrolment(admin, root, { tenant: 'globex', nowMs: NOW, person: 'ada', roles: ['admin'] })],
      trust,
      /another tenant/,
    ],
    ['a dev key outside a dev stack', devAll, [], { ...trust, roots: [devRoot.keyId] }, /dev stack/],
    [
      'a real key below a dev administrator',
      byAdmin,
      [makeEnrolment(admin, devRoot, { ...acme, person: 'ada', roles: ['admin'] })],
      { ...trust, roots: [devRoot.keyId], dev: true },
      /dev keys only/,
    ],
    ['every tenant without the dev mark', signedBy({ tenant: '*' }, [root, bob]), [], trust, /every tenant/],
    ['every role without the dev mark', signedBy({ roles: ['*'] }, [root, bob]), [], trust, /not a name/],
    ['not valid yet', signedBy({ validFrom: '2030-01-01T00:00:00.000Z' }, [root, bob]), [], trust, /not valid yet/],
    [
      'no longer valid',
      signedBy({ validUntil: new Date(NOW).toISOString() }, [root, bob]),
      [],
      trust,
      /no longer valid/,
    ],
    ['no possession', signedBy({}, [root, admin]), [], trust, /possession/],
    ['no administrator signed', signedBy({}, [admin, bob]), [], trust, /administrator did not sign/],
    ['one signature', signedBy({}, [root]), [], trust, /two signatures/],
    [
      'a key that enrols itself',
      signedBy({ signer: toBase64(bob.publicKey) }, [bob, root]),
      [],
      { ...trust, roots: [bob.keyId] },
      /itself/,
    ],
    ['a look-alike name', signedBy({ person: 'bоb' }, [root, bob]), [], trust, /not a name/],
    ['a chain too long', byAdmin, [adminLink, adminLink, adminLink, adminLink], trust, /at most/],
    ['no chain at all', byRoot, null, trust, /not a list/],
  ] as [string, Json, Json, Trust, RegExp][])('P4 does not count: %s', (_name, envelope, chain, t, reason) => {
    const result = verifyEnrolment(envelope, chain, t);
    expect(result).toMatchObject({ kind: 'invalid', reason: expect.stringMatching(reason) as string });
  });

  test('P4 keys of small order and in other than canonical form are refused; real ones pass', () => {
    const identity = new Uint8Array(32);
    identity[0] = 1;
    // y = p + 1: the identity again, not canonical
    const loose = Uint8Array.from([0xee, ...Array.from({ length: 30 }, () => 0xff), 0x7f]);
    const low = [
      '00'.repeat(32),
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      `${'ec'}${'ff'.repeat(30)}7f`,
    ].map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));
    const torsion = Point.fromBytes(low[1]!, true);
    const mixed = Point.BASE.add(torsion).toBytes();
    for (const key of [identity, loose, ...low, mixed, new Uint8Array(31)]) expect(isSoundKey(key)).toBe(false);
    for (let i = 0; i < 20; i += 1) expect(isSoundKey(generateKey('x').publicKey)).toBe(true);
    const anything = Uint8Array.from([...identity, ...new Uint8Array(32)]);
    expect(verifySignature(identity, new TextEncoder().encode('anything'), anything)).toBe(false);
    const payload = enrolmentStatement(statement({ publicKey: toBase64(identity) }));
    const rootSig = (signEnvelope(ENROLMENT_PAYLOAD_TYPE, payload, [root]) as { signatures: { sig: string }[] })
      .signatures[0]!.sig;
    const envelope = makeEnvelope(ENROLMENT_PAYLOAD_TYPE, payload, [
      { keyid: root.keyId, sig: fromBase64(rootSig)! },
      { keyid: sha256Hex(identity), sig: anything },
    ]);
    expect(verifyEnrolment(envelope, [], trust)).toMatchObject({
      kind: 'invalid',
      reason: 'possession of the key is not proven',
    });
  });
});

/** The independent verifier, built from its sources into a directory of ours. */
function goVerifier(into: string): string {
  const sources = fileURLToPath(new URL('../../../shared/tlogverify', import.meta.url));
  const binary = join(into, 'tlogverify');
  if (!existsSync(binary)) execFileSync('go', ['build', '-o', binary, '.'], { cwd: sources, stdio: 'pipe' });
  return binary;
}
