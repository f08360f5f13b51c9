/** Signed commands (DSSE, `application/vnd.actguard.command+json`): what an operator does to a run, verified like an approval. */
import { accountTarget, type AccountRef } from './account.ts';
import { canonicalize } from './canonical.ts';
import { COMMAND_PAYLOAD_TYPE, base64Of, fingerprintOf, parseEnvelope } from './dsse.ts';
import { utf8Bytes } from './digest.ts';
import { type EnrolledKey, type Trust, hasRole } from './enrolment.ts';
import { type KeyRow, signerOf, verifyKey } from './answer.ts';
import { EVERY_TENANT } from './freeze.ts';
import { checkSignature } from './signature.ts';
import type { JsonObject } from './json.ts';
import { MAX_COMMAND_LIFE_MS, MAX_STATEMENT_TEXT_CHARS } from './limits.ts';
import {
  type Parsed,
  canonicalJsonOf,
  exactObject,
  hexOf,
  oneOf,
  parsing,
  refuse,
  textOf,
  timeOf,
  valueOf,
} from './strict.ts';

/** Everything that can be commanded. */
export const COMMAND_VERBS = [
  'thaw',
  'topUp',
  'resolve',
  'freeze',
  'activatePolicies',
  'limit',
  'recover',
  'erase',
] as const;
/** One of {@link COMMAND_VERBS}. */
export type CommandVerb = (typeof COMMAND_VERBS)[number];

/** A command as it is signed. */
export interface Command {
  readonly v: 1;
  readonly verb: CommandVerb;
  readonly tenant: string;
  /** `run:<id>`, `budget:tenant:acme`, or what is frozen beyond a run (freeze.ts). */
  readonly target: string;
  /** 16 bytes, hex: used once. */
  readonly nonce: string;
  /** After this, on the database's clock, it does nothing; at most MAX_COMMAND_LIFE_MS ahead. */
  readonly exp: string;
  readonly reason: string;
  /** What the verb needs: a limit for `topUp`, a call and its outcome for `resolve`. */
  readonly data: JsonObject;
}

/** Who signed a command. `root`: a root of the configuration itself, which no directory row stands for. */
export type CommandKey = EnrolledKey & { readonly root?: true };

/** The target that stands for a run. */
export function runTarget(run: string): string {
  return `run:${run}`;
}

/** The target that stands for an account's budget: no freeze of the same scope has it. */
export function budgetTarget(account: Pick<AccountRef, 'scope' | 'value'>): string {
  return `budget:${accountTarget(account)}`;
}

/** The bytes of a command: sign their PAE with COMMAND_PAYLOAD_TYPE. */
export function commandStatement(command: Command): Uint8Array {
  return utf8Bytes(canonicalize({ ...command }));
}

/** Reads a command strictly. */
export function parseCommand(payload: Uint8Array): Parsed<Command> {
  return parsing(() => {
    const value = canonicalJsonOf(payload, 'the command');
    const c = exactObject(value, ['v', 'verb', 'tenant', 'target', 'nonce', 'exp', 'reason', 'data'], 'the command');
    if (c.v !== 1) return refuse('the command is of an unknown version');
    if (typeof c.data !== 'object' || c.data === null || Array.isArray(c.data))
      return refuse('the data is not an object');
    return {
      v: 1,
      verb: oneOf(c.verb, 'the verb', COMMAND_VERBS),
      tenant: textOf(c.tenant, 'the tenant', MAX_STATEMENT_TEXT_CHARS),
      target: textOf(c.target, 'the target', MAX_STATEMENT_TEXT_CHARS),
      nonce: hexOf(c.nonce, 'the nonce', 16),
      exp: timeOf(c.exp, 'the expiry'),
      reason: textOf(c.reason, 'the reason', MAX_STATEMENT_TEXT_CHARS),
      data: c.data as JsonObject,
    };
  });
}

// Nobody is enrolled for every tenant (dev keys aside), so that a root itself commands there: it brings its public key.
function rootKey(command: Command, keyId: string, trust: Trust): CommandKey {
  const publicKey = base64Of(command.data['publicKey'], 'the public key of the root');
  if (publicKey.length !== 32 || fingerprintOf(publicKey) !== keyId) return refuse("the public key is not the root's");
  const person = `root:${keyId.slice(0, 16)}`;
  return {
    keyId,
    kind: 'ed25519',
    publicKey,
    tenant: EVERY_TENANT,
    person,
    roles: ['admin'],
    dev: trust.dev,
    root: true,
  };
}

/** Verifies a command for a target: key, chain, tenant, role operator or admin, signature, expiry. The nonce is the caller's. */
export function verifySignedCommand(
  envelope: unknown,
  expected: { readonly tenant: string; readonly target: string },
  keyRow: KeyRow | null,
  trust: Trust,
): Parsed<{ readonly command: Command; readonly key: CommandKey }> {
  return parsing(() => {
    const keyId = valueOf(signerOf(envelope, COMMAND_PAYLOAD_TYPE));
    const { payload, pae, signatures } = valueOf(parseEnvelope(envelope, COMMAND_PAYLOAD_TYPE));
    const command = valueOf(parseCommand(payload));
    if (command.tenant !== expected.tenant) return refuse('the command is for another tenant');
    if (command.target !== expected.target) return refuse('the command is for another target');
    const leftMs = Date.parse(command.exp) - trust.nowMs;
    if (leftMs <= 0) return refuse('the command has expired');
    if (leftMs > MAX_COMMAND_LIFE_MS) return refuse('the command is good for too long');
    const pinned = command.tenant === EVERY_TENANT && trust.roots.includes(keyId);
    const key = pinned ? rootKey(command, keyId, trust) : valueOf(verifyKey(keyId, keyRow, command.tenant, trust));
    const signature = signatures[0];
    if (!signature) return refuse('the envelope has no signature');
    checkSignature(key, pae, signature, trust);
    if (!hasRole(key, ['operator', 'admin'])) return refuse('the person is neither operator nor administrator');
    return { command, key };
  });
}
