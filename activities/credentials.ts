/** Credentials: resolved in the worker at the moment of use, after policy said yes and before the claim. */
import type { SecretRef } from '../define/types.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { MIN_SECRET_BYTES } from '../governance/limits.ts';
import type { SecretSource } from './deps.ts';
import { derivedForms } from './inject.ts';
import type { SecretSet } from './scrub.ts';

/** A resolved credential: lives in memory for one call. */
export interface Credential {
  readonly localName: string;
  readonly ref: SecretRef;
  readonly value: string;
}

/**
 * Reads a tool's secrets and adds them to the scrub set.
 * @throws CREDENTIAL_MISSING { names } for those that are not there; CONFIG_INVALID for one under 12 bytes.
 */
export async function resolveCredentials(
  refs: { readonly [localName: string]: SecretRef },
  source: SecretSource,
  known: SecretSet,
): Promise<Credential[]> {
  const found: Credential[] = [];
  const missing: string[] = [];
  for (const [localName, ref] of Object.entries(refs)) {
    const value = await source.read(ref.name, ref.env);
    if (value === undefined || value === '') {
      missing.push(ref.name);
    } else if (Buffer.byteLength(value) < MIN_SECRET_BYTES) {
      throw new ActGuardError('CONFIG_INVALID', `secret \`${ref.name}\` is shorter than ${MIN_SECRET_BYTES} bytes`, {
        hint: 'a secret this short cannot be kept out of outputs without hurting harmless text; use a longer one',
        details: { name: ref.name },
      });
    } else {
      const credential = { localName, ref, value };
      known.add(value);
      for (const form of derivedForms(credential)) known.add(form);
      found.push(credential);
    }
  }
  if (missing.length > 0) {
    throw new ActGuardError('CREDENTIAL_MISSING', `no value for ${missing.map((n) => `\`${n}\``).join(', ')}`, {
      details: { names: missing },
      hint: `set ${missing.map((name) => Object.values(refs).find((r) => r.name === name)?.env ?? name).join(', ')} for the worker`,
    });
  }
  return found;
}

/** What the claim's entry says of a call's credentials: their names, and which of them its own code may get. */
export function credentialNames(credentials: readonly Credential[]): JsonObject {
  const revealable = credentials.filter((c) => c.ref.reveal).map((c) => c.ref.name);
  return {
    credentials: credentials.map((c) => c.ref.name),
    ...(revealable.length === 0 ? {} : { revealable }),
  };
}

/** Secrets from the environment as it was when the worker started; they are removed from `process.env` after that. */
export function environmentSecrets(environment: Readonly<Record<string, string | undefined>>): SecretSource {
  return { read: (_name, env) => Promise.resolve(environment[env]) };
}
