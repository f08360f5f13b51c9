/** Making enrolments: an administrator and the new key sign the same statement. */
import { toBase64 } from '../governance/base64.ts';
import { ENROLMENT_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { enrolmentStatement } from '../governance/enrolment.ts';
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
