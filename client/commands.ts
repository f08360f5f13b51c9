/** Signed commands: thaw, topUp, resolve. Verified by a worker before they count (trust.md, Keys and commands). */
import { randomBytes } from 'node:crypto';
import { toBase64 } from '../governance/base64.ts';
import { COMMAND_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { commandStatement, runTarget, type CommandVerb } from '../governance/command.ts';
import { EVERY_TENANT, type FreezeScope, freezeTarget } from '../governance/freeze.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { signEnvelope, type SigningKey } from './keys.ts';

/** A command that is not used within this does nothing. */
const COMMAND_LIFE_MS = 5 * 60_000;

/** Makes and signs a command for a run or a frozen scope: the envelope that goes into a signal. */
export function makeCommand(
  verb: CommandVerb,
  about: { readonly tenant: string; readonly reason: string; readonly data?: JsonObject } & (
    { readonly run: string } | { readonly target: string }
  ),
  key: SigningKey,
  nowMs: number,
): Json {
  const payload = commandStatement({
    v: 1,
    verb,
    tenant: about.tenant,
    target: 'run' in about ? runTarget(about.run) : about.target,
    nonce: randomBytes(16).toString('hex'),
    exp: new Date(nowMs + COMMAND_LIFE_MS).toISOString(),
    reason: about.reason,
    data: about.data ?? {},
  });
  return signEnvelope(COMMAND_PAYLOAD_TYPE, payload, [key]);
}

/** Makes and signs a freeze of a scope, for when unsigned ones are refused because there were too many. */
export function makeFreeze(scope: FreezeScope, reason: string, abort: boolean, key: SigningKey, nowMs: number): Json {
  const data: JsonObject = {
    ...(abort ? { abort } : {}),
    ...(scope.tenant === EVERY_TENANT ? { publicKey: toBase64(key.publicKey) } : {}),
  };
  return makeCommand('freeze', { tenant: scope.tenant, target: freezeTarget(scope), reason, data }, key, nowMs);
}

/** Makes and signs a thaw of a scope. What holds for every tenant is thawed by a root: its public key goes along. */
export function makeThaw(scope: FreezeScope, reason: string, key: SigningKey, nowMs: number): Json {
  const data: JsonObject = scope.tenant === EVERY_TENANT ? { publicKey: toBase64(key.publicKey) } : {};
  return makeCommand('thaw', { tenant: scope.tenant, target: freezeTarget(scope), reason, data }, key, nowMs);
}
