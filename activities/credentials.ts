/** Credentials: resolved in the worker at the moment of use, after policy said yes and before the claim. */
import type { SecretOwner, SecretRef } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import type { SecretSource } from './deps.ts';
import { derivedForms } from './inject.ts';
import { secretProblem, unfitSecrets } from './secret-problem.ts';
import type { SecretOrigin } from './secret-cache.ts';
import type { SecretSet } from './scrub.ts';

/** A resolved credential: lives in memory for one call. */
export interface Credential {
  readonly localName: string;
  readonly ref: SecretRef;
  readonly value: string;
}

/**
 * Reads a tool's secrets, of this tenant and user where the tool says so, and adds them to the scrub set.
 * @throws CREDENTIAL_MISSING { names } for those that are not there; CONFIG_INVALID for one that cannot be kept secret;
 *   BACKEND_UNAVAILABLE while a source is away
 */
export async function resolveCredentials(
  refs: { readonly [localName: string]: SecretRef },
  source: SecretSource,
  known: SecretSet,
  principal: { readonly tenant: string; readonly user: string },
): Promise<Credential[]> {
  const found: Credential[] = [];
  const missing: SecretRef[] = [];
  const unfit: { readonly name: string; readonly problem: string }[] = [];
  for (const [localName, ref] of Object.entries(refs)) {
    const value = await source.read(ref.name, ref.env, ownerOf(ref, principal));
    if (value === undefined) {
      missing.push(ref);
      continue;
    }
    const problem = secretProblem(value);
    if (problem !== null) {
      unfit.push({ name: ref.name, problem });
      continue;
    }
    const credential = { localName, ref, value };
    known.add(value);
    for (const form of derivedForms(credential)) known.add(form);
    found.push(credential);
  }
  if (unfit.length > 0) throw unfitSecrets(unfit);
  if (missing.length > 0) {
    throw new ActGuardError('CREDENTIAL_MISSING', `no value for ${missing.map((r) => `\`${r.name}\``).join(', ')}`, {
      details: { names: missing.map((r) => r.name) },
      hint: missing.every((r) => r.per === 'worker')
        ? `set ${missing.map((r) => r.env).join(', ')} for the worker, or give it to another source`
        : 'a source has to hold it for this tenant or user: the environment holds those of the worker only',
    });
  }
  return found;
}

function ownerOf({ per }: SecretRef, { tenant, user }: { tenant: string; user: string }): SecretOwner {
  return per === 'worker' ? {} : per === 'tenant' ? { tenant } : { tenant, user };
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
export function environmentSecrets(
  environment: Readonly<Record<string, string | undefined>>,
): SecretSource & SecretOrigin {
  // a variable's name cannot tell tenants apart without a doubt: `a-b` and `a_b` would be one
  const read = (_name: string, env: string, owner: SecretOwner = {}): Promise<string | undefined> =>
    Promise.resolve(owner.tenant === undefined ? environment[env] : undefined);
  return {
    read,
    async find(name, env, owner) {
      const value = await read(name, env, owner);
      return value === undefined ? undefined : { value };
    },
  };
}
