/**
 * Opening a run, signed by its caller (DSSE, `application/vnd.actguard.opening+json`). A caller's token is a signing key:
 * it never travels, the directory holds its fingerprint, and a signature opens one run, whose id is used once.
 */
import { type KeyRow, signerOf, verifyKey } from './answer.ts';
import { canonicalize } from './canonical.ts';
import { utf8Bytes } from './digest.ts';
import { OPENING_PAYLOAD_TYPE, parseEnvelope } from './dsse.ts';
import type { EnrolledKey, Trust } from './enrolment.ts';
import { MAX_STATEMENT_TEXT_CHARS } from './limits.ts';
import { checkSignature } from './signature.ts';
import { type Parsed, canonicalJsonOf, exactObject, parsing, refuse, textOf, valueOf } from './strict.ts';

/** The role of a key that may open runs for its own name. */
export const CALLER_ROLE = 'caller';
/** The role of a key that may open runs for users of its tenant. */
export const CALLER_FOR_USERS_ROLE = 'caller-for-users';

/** What is signed. */
export interface Opening {
  readonly v: 1;
  readonly run: string;
  readonly tenant: string;
  readonly user: string;
  readonly agent: string;
}

/** What a verified opening says about its caller; `forbidden`: it is who it is, and may not act for this user. */
export type Caller =
  | { readonly kind: 'caller'; readonly key: EnrolledKey }
  | { readonly kind: 'unauthenticated' | 'forbidden'; readonly reason: string };

/** The bytes of an opening: sign their PAE with OPENING_PAYLOAD_TYPE. */
export function openingStatement(opening: Opening): Uint8Array {
  return utf8Bytes(canonicalize({ ...opening }));
}

function parseOpening(payload: Uint8Array): Opening {
  const o = exactObject(
    canonicalJsonOf(payload, 'the opening'),
    ['v', 'run', 'tenant', 'user', 'agent'],
    'the opening',
  );
  if (o.v !== 1) return refuse('the opening is of an unknown version');
  const text = (value: unknown, what: string): string => textOf(value, what, MAX_STATEMENT_TEXT_CHARS);
  return {
    v: 1,
    run: text(o.run, 'the run'),
    tenant: text(o.tenant, 'the tenant'),
    user: text(o.user, 'the user'),
    agent: text(o.agent, 'the agent'),
  };
}

/** Who opens a run: an enrolled key of this tenant, valid now, that signed exactly this run, and may act for its user. */
export function verifyOpening(envelope: unknown, run: Omit<Opening, 'v'>, keyRow: KeyRow | null, trust: Trust): Caller {
  const verified: Parsed<EnrolledKey> = parsing(() => {
    const keyId = valueOf(signerOf(envelope, OPENING_PAYLOAD_TYPE));
    const { payload, pae, signatures } = valueOf(parseEnvelope(envelope, OPENING_PAYLOAD_TYPE));
    const opening = parseOpening(payload);
    const key = valueOf(verifyKey(keyId, keyRow, run.tenant, trust));
    const [signature] = signatures;
    if (!signature) return refuse('the envelope has no signature');
    checkSignature(key, pae, signature, trust);
    for (const field of ['run', 'tenant', 'user', 'agent'] as const) {
      if (opening[field] !== run[field]) return refuse(`the opening names another ${field}`);
    }
    return key;
  });
  if (verified.kind === 'invalid') return { kind: 'unauthenticated', reason: verified.reason };
  const { roles, person } = verified.value;
  const forUsers = roles.includes(CALLER_FOR_USERS_ROLE);
  if (!forUsers && !roles.includes(CALLER_ROLE))
    return { kind: 'forbidden', reason: `the key of ${person} opens no runs` };
  if (!forUsers && person !== run.user) return { kind: 'forbidden', reason: `${person} may not act for another user` };
  return { kind: 'caller', key: verified.value };
}
