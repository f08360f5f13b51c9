/** A package of ours that is not installed: left out on purpose (a client needs no native part), so the error says how to get it. */
import { readFileSync } from 'node:fs';
import { ActGuardError } from '../../governance/errors.ts';

/** The part of package.json that is read here. */
interface Manifest {
  readonly version: string;
  readonly dependencies?: { readonly [name: string]: string };
  readonly optionalDependencies?: { readonly [name: string]: string };
}

/** Our own package.json; null where it cannot be read. */
export function manifest(): Manifest | null {
  for (const up of ['../../', '../../../']) {
    try {
      return JSON.parse(readFileSync(new URL(`${up}package.json`, import.meta.url), 'utf8')) as Manifest;
    } catch {
      // Built files lie one folder deeper.
    }
  }
  return null;
}

/** The error in our words; null where it is another one, such as a package that a user's file asks for. */
export function missingPackage(error: unknown): ActGuardError | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'MODULE_NOT_FOUND') return null;
  const wanted = /Cannot find (?:package|module) '((?:@[^/']+\/)?[^/']+)/.exec(error.message)?.[1];
  // the worker's own native part
  const name = wanted === '@temporalio/core-bridge' ? '@temporalio/worker' : wanted;
  const own = manifest();
  const version = name === undefined ? undefined : (own?.optionalDependencies?.[name] ?? own?.dependencies?.[name]);
  if (name === undefined || version === undefined) return null;
  return new ActGuardError('BACKEND_UNAVAILABLE', `the package \`${name}\` is not installed`, {
    details: { package: name },
    hint: `install it: npm install ${name}@${version} (a client does without)`,
    cause: error,
  });
}
