/** Signed commands: thaw, topUp, resolve. Verified by a worker before they count (trust.md, Keys and commands). */
import { randomBytes } from 'node:crypto';
import { COMMAND_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { commandStatement, runTarget, type CommandVerb } from '../governance/command.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { signEnvelope, type SigningKey } from './keys.ts';

/** A command that is not used within this does nothing. */
const COMMAND_LIFE_MS = 5 * 60_000;

/** Makes and signs a command for a run: the envelope that goes into a signal. */
export function makeCommand(
  verb: CommandVerb,
  about: { readonly tenant: string; readonly run: string; readonly reason: string; readonly data?: JsonObject },
  key: SigningKey,
  nowMs: number,
): Json {
  const payload = commandStatement({
    v: 1,
    verb,
    tenant: about.tenant,
    target: runTarget(about.run),
    nonce: randomBytes(16).toString('hex'),
    exp: new Date(nowMs + COMMAND_LIFE_MS).toISOString(),
    reason: about.reason,
    data: about.data ?? {},
  });
  return signEnvelope(COMMAND_PAYLOAD_TYPE, payload, [key]);
}
