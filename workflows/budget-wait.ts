/** How long a call waits that others are in the way of: durable timers, nothing held, with jitter so that not all ask at once. */
import type { CallModelResult, CallToolResult } from '../activities/types.ts';
import { sha256Hex } from '../governance/digest.ts';
import { FIRST_BUDGET_WAIT_MS } from '../governance/limits.ts';
import type { ToolSummary } from '../governance/tool.ts';

/** The pause before a call is tried again, in milliseconds; null: it is refused for good. `tries` from 0. */
export function pauseOf(
  tool: Pick<ToolSummary, 'onLimit'>,
  result: CallToolResult | CallModelResult,
  call: { readonly run: string; readonly seq: number; readonly tries: number },
  deadlineMs: number,
): number | null {
  if (!isUnwritten(tool, result) || result.kind !== 'denied') return null;
  const waitMs = result.waitMs === undefined ? (result.denial.retryAfterMs ?? 1_000) : budgetPause(result.waitMs, call);
  return Date.now() + waitMs < deadlineMs ? waitMs : null;
}

/**
 * Whether a denial asks to wait: a rate limit with `onLimit: 'wait'` (RL5), or reservations of others. It is not the
 * last word on its call, so that the activity has not written it.
 */
export function isUnwritten(tool: Pick<ToolSummary, 'onLimit'>, result: CallToolResult | CallModelResult): boolean {
  if (result.kind !== 'denied') return false;
  return result.waitMs !== undefined || (result.denial.code === 'RATE_LIMITED' && tool.onLimit === 'wait');
}

/** Doubles from a second up to `longestMs`; between half of it and all of it, by the digest of who waits: replayed alike. */
export function budgetPause(
  longestMs: number,
  { run, seq, tries }: { readonly run: string; readonly seq: number; readonly tries: number },
): number {
  const pauseMs = Math.min(longestMs, FIRST_BUDGET_WAIT_MS * 2 ** Math.min(tries, 20));
  const share = parseInt(sha256Hex(`${run}:${seq}:${tries}`).slice(0, 8), 16) / 2 ** 32;
  return Math.max(1, Math.round(pauseMs * (0.5 + share / 2)));
}
