/** Under which key an effect happens once, and in which bucket a call is counted. */
import type { Tool } from '../define/types.ts';
import { deny } from '../governance/denial.ts';
import { digestOf, sha256Hex } from '../governance/digest.ts';
import type { Denial } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { MAX_EFFECT_KEY_BYTES } from '../governance/limits.ts';
import { bucketOf } from '../governance/rate-limit.ts';
import type { ClaimRequest } from './claim.ts';
import type { Grant } from './grant.ts';
import type { CallToolInput } from './types.ts';

/** The effect key (EX1, EX3, EX7): the tool's own, or the arguments within the run, or run + call for a repeatable tool. */
export function effectKey(
  tool: Tool,
  args: JsonObject,
  input: CallToolInput,
): { claim: ClaimRequest['key']; receiver: string } | Denial {
  const own = `${input.run}:${input.call}`;
  if (tool.manifest.effect === 'read') return { claim: null, receiver: own };
  if (!tool.code.key) {
    const text = tool.manifest.repeatable ? `call:${own}` : `args:${digestOf(args)}`;
    return { claim: { hash: sha256Hex(text), scope: input.run, onDuplicate: 'deny' }, receiver: own };
  }
  const { idempotency } = tool.manifest;
  let key: unknown;
  try {
    key = tool.code.key(args as never);
    // one that changes from look to look would let every attempt through
    if (tool.code.key(args as never) !== key) key = null;
  } catch (error) {
    key = error;
  }
  const header = idempotency?.receiver != null;
  if (
    typeof key !== 'string' ||
    key === '' ||
    Buffer.byteLength(key) > MAX_EFFECT_KEY_BYTES ||
    (header && /[^\x20-\x7e]/.test(key))
  ) {
    return deny(
      'ARGUMENTS_INVALID',
      `${tool.name} makes no usable idempotency key of these arguments`,
      `a key is text of 1 to ${MAX_EFFECT_KEY_BYTES} bytes${header ? ', printable ASCII' : ''}; use other arguments or tell the user`,
      { tool: tool.name },
    );
  }
  return {
    claim: {
      hash: sha256Hex(`key:${key}`),
      scope: idempotency?.scope === 'run' ? input.run : '',
      onDuplicate: idempotency?.onDuplicate ?? 'return',
    },
    receiver: key,
  };
}

/** The bucket of a call's rate limit (RL3); null: it has none. */
export function rateOf(tool: Tool, args: JsonObject, grant: Grant, input: CallToolInput): ClaimRequest['rate'] {
  const limit = tool.manifest.rateLimit;
  if (!limit) return null;
  const bucket = bucketOf(limit.scope, { ...grant.principal, run: input.run, tool: tool.name, args });
  return { bucket, maxCalls: limit.maxCalls, periodMs: limit.periodMs };
}

/** How long a finished effect is remembered here and at its receiver. */
export function memoryOf({ manifest }: Tool): Pick<ClaimRequest, 'transactional' | 'keyTtlMs' | 'receiver'> {
  const { idempotency, timeoutMs, settlesWithinMs } = manifest;
  return {
    transactional: manifest.transactional === true,
    keyTtlMs: idempotency?.ttlMs ?? null,
    receiver: idempotency?.receiver
      ? { keyTtlMs: idempotency.receiver.keyTtlMs, withinMs: timeoutMs + settlesWithinMs }
      : null,
  };
}
