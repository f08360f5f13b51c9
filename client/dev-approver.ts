/**
 * The dev stack's administrator and approver: two keys beside its state, so that `actguard approve ID` works bare on
 * the first day. Both are marked dev inside the file; nothing they sign counts outside a dev stack.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';
import { makeEnrolment } from './enrolment.ts';
import { type SigningKey, generateKey, readKeyFile, writeKeyFile } from './keys.ts';

/** Where the keys lie in the dev stack's state directory. */
export const DEV_ROOT_KEY_FILE = 'dev-root.key';
export const DEV_APPROVER_KEY_FILE = 'dev-approver.key';

/** What `ensureDevApprover` (activities/directory.ts) and `deps.roots` need. */
export interface DevApprover {
  /** For `deps.roots`. */
  readonly rootKeyId: string;
  readonly approver: SigningKey;
  readonly keyFile: string;
  /** Enrolment: every tenant (`*`), every role (`*`). */
  readonly envelope: Json;
}

/**
 * Loads or makes the dev keys. The approver is `dev:<os user>`.
 *
 * @throws ActGuardError ARGUMENTS_INVALID when a file there is no dev key
 */
export function devApprover(stateDirectory: string, osUser: string, nowMs: number): DevApprover {
  const person = `dev:${osUser.replaceAll(/[^A-Za-z0-9._@+-]/g, '_').slice(0, 100) || 'user'}`;
  const root = devKey(join(stateDirectory, DEV_ROOT_KEY_FILE), 'dev:root-key');
  const keyFile = join(stateDirectory, DEV_APPROVER_KEY_FILE);
  const approver = devKey(keyFile, person);
  const envelope = makeEnrolment(approver, root, { tenant: '*', person: approver.person, roles: ['*'], nowMs });
  return { rootKeyId: root.keyId, approver, keyFile, envelope };
}

function devKey(file: string, person: string): SigningKey {
  if (!existsSync(file)) writeKeyFile(file, generateKey(person, true), null);
  const key = readKeyFile(file, null);
  if (key.dev) return key;
  throw new ActGuardError('ARGUMENTS_INVALID', `\`${file}\` is not a dev key`, {
    hint: 'move it away; the dev stack makes a new one',
  });
}
