/** Making enrolments: an administrator and the new key sign the same statement. */
import { toBase64 } from '../governance/base64.ts';
import { ENROLMENT_PAYLOAD_TYPE, makeEnvelope, parseEnvelope } from '../governance/dsse.ts';
import { type Enrolment, enrolmentStatement, parseEnrolment } from '../governance/enrolment.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { MAX_ASK_CLOCK_SKEW_MS } from '../governance/limits.ts';
import { type SigningKey, signEnvelope } from './keys.ts';

/** What {@link makeEnrolment} says about the key. */
export interface EnrolmentOptions {
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly nowMs: number;
  readonly validUntilMs?: number;
}

/**
 * An enrolment of `key` signed by `signer` and by the key itself (possession). Whatever a dev key signs is marked dev.
 * It is valid from MAX_ASK_CLOCK_SKEW_MS ago: the database's clock may be behind ours.
 */
export function makeEnrolment(key: SigningKey, signer: SigningKey, options: EnrolmentOptions): Json {
  const payload = enrolmentStatement({
    v: 1,
    tenant: options.tenant,
    person: options.person,
    roles: options.roles,
    kind: 'ed25519',
    publicKey: toBase64(key.publicKey),
    validFrom: new Date(options.nowMs - MAX_ASK_CLOCK_SKEW_MS).toISOString(),
    validUntil: options.validUntilMs === undefined ? null : new Date(options.validUntilMs).toISOString(),
    dev: signer.dev || key.dev,
    signer: toBase64(signer.publicKey),
  });
  return signEnvelope(ENROLMENT_PAYLOAD_TYPE, payload, [signer, key]);
}

/** What a pending enrolment says. @throws ActGuardError ARGUMENTS_INVALID when it is none */
export function readEnrolment(envelope: Json): Enrolment {
  const opened = parseEnvelope(envelope, ENROLMENT_PAYLOAD_TYPE);
  const statement = opened.kind === 'ok' ? parseEnrolment(opened.value.payload) : opened;
  if (statement.kind === 'ok') return statement.value;
  throw new ActGuardError('ARGUMENTS_INVALID', `this cannot be enrolled: ${statement.reason}`);
}

/**
 * Adds the administrator's signature to an enrolment that the new key has signed already: the same bytes.
 *
 * @throws ActGuardError ARGUMENTS_INVALID (no enrolment), FORBIDDEN (it names another administrator)
 */
export function countersign(envelope: Json, signer: SigningKey): Json {
  const enrolment = readEnrolment(envelope);
  if (enrolment.signer !== toBase64(signer.publicKey)) {
    throw new ActGuardError('FORBIDDEN', 'the invitation names another administrator', {
      hint: 'sign with the key that invited, or invite again',
    });
  }
  const opened = parseEnvelope(envelope, ENROLMENT_PAYLOAD_TYPE);
  const { payload, signatures } =
    opened.kind === 'ok' ? opened.value : { payload: enrolmentStatement(enrolment), signatures: [] };
  const own = signatures.filter((s) => s.keyid !== signer.keyId);
  const [signed] = (signEnvelope(ENROLMENT_PAYLOAD_TYPE, payload, [signer]) as unknown as Signed).signatures;
  return makeEnvelope(ENROLMENT_PAYLOAD_TYPE, payload, [
    { keyid: signer.keyId, sig: Buffer.from(signed?.sig ?? '', 'base64') },
    ...own,
  ]);
}

interface Signed {
  readonly signatures: readonly { readonly sig: string }[];
}
