/** The states of an effect (guards.md EX2) and what a failure means for it (EX4). */
import { FIRST_ASK_MS, LONGEST_ASK_MS } from './limits.ts';
import type { EffectKind } from './tool.ts';

/** `retrying`: an attempt failed for certain and the next one is due. */
export type EffectState = 'claimed' | 'retrying' | 'succeeded' | 'failed' | 'unknown';

/** What can happen to an effect; `late` is an outcome that comes after its claim was taken over. */
export type EffectEvent =
  'succeed' | 'fail' | 'retry' | 'lose' | 'claim-again' | 'late-success' | 'late-failure' | 'happened' | 'never-will';

/** State x event -> state. What is absent cannot happen: an outcome that is known is never changed. */
const TRANSITIONS: { readonly [S in EffectState]: { readonly [E in EffectEvent]?: EffectState } } = {
  claimed: { succeed: 'succeeded', fail: 'failed', retry: 'retrying', lose: 'unknown', 'claim-again': 'claimed' },
  retrying: { 'claim-again': 'claimed', fail: 'failed', lose: 'unknown' },
  // again only with the same key at a receiver that honours it (EX5)
  unknown: {
    'claim-again': 'claimed',
    'late-success': 'succeeded',
    // where no other attempt can have landed
    'late-failure': 'failed',
    happened: 'succeeded',
    'never-will': 'failed',
  },
  succeeded: {},
  failed: {},
};

/** The state after an event; null: that cannot happen in this state. */
export function afterEvent(state: EffectState, event: EffectEvent): EffectState | null {
  return TRANSITIONS[state][event] ?? null;
}

/** Whether the effect key holds (EX2): a failed effect gives it back, an unknown one keeps it. */
export function keyHeld(state: EffectState): boolean {
  return state !== 'failed';
}

/** What is known of an attempt that did not return. */
export interface FailedAttempt {
  readonly effect: EffectKind;
  /** What left the machine: nothing; one request that was answered; anything else. */
  readonly sent: 'nothing' | 'one-answered' | 'other';
  /** Status of that one answer. */
  readonly status: number | null;
  /** Statuses by which a receiver says for certain that nothing happened. */
  readonly definiteStatuses: readonly number[];
  /** The tool threw `nothingHappened()`. */
  readonly nothingHappened: boolean;
  /** It used `ctx.reveal` or sockets of its own: what they did cannot be known. */
  readonly usedOther: boolean;
  /** It was stopped: timeout, cancel, lost lease, crash. */
  readonly stopped: boolean;
}

/**
 * What a failed attempt means (EX4). A read has failed. A write that was stopped is unknown whatever it did (TO2, D8).
 * A write that threw has failed when the tool says that nothing happened, when nothing left the machine, or when the one
 * request that did was definitely refused. Everything else is unknown.
 */
export function judgeFailure(attempt: FailedAttempt): 'failed' | 'unknown' {
  if (attempt.effect === 'read') return 'failed';
  if (attempt.stopped) return 'unknown';
  if (attempt.nothingHappened) return 'failed';
  if (attempt.usedOther) return 'unknown';
  switch (attempt.sent) {
    case 'nothing':
      return 'failed';
    case 'one-answered':
      return attempt.status !== null && attempt.definiteStatuses.includes(attempt.status) ? 'failed' : 'unknown';
    case 'other':
      return 'unknown';
    default:
      return attempt.sent satisfies never;
  }
}

/** A certain failure of one attempt says nothing of an earlier one that may have landed: together they are unknown. */
export function withEarlier<S extends 'succeeded' | 'failed' | 'unknown'>(
  state: S,
  mayHaveLanded: boolean,
): S | 'unknown' {
  return state === 'failed' && mayHaveLanded ? 'unknown' : state;
}

/** How an unknown outcome can become known without a person. */
export interface Asking {
  /** `send`: the receiver honours our key; `ask`: the tool has a `reconcile`; `none`: only a person can know. */
  readonly way: 'send' | 'ask' | 'none';
  /** How often it was asked so far. */
  readonly asked: number;
  readonly nowMs: number;
  /** From here on "not there" means "never will". */
  readonly settledAtMs: number;
}

/** When to ask again, in milliseconds from now: twice as long each time, and once as soon as the answer is final. null: never. */
export function askAgainMs({ way, asked, nowMs, settledAtMs }: Asking): number | null {
  if (way === 'none') return null;
  const pauseMs = Math.min(FIRST_ASK_MS * 2 ** Math.min(asked, 20), LONGEST_ASK_MS);
  const finalInMs = settledAtMs - nowMs;
  return way === 'ask' && finalInMs > 0 ? Math.min(pauseMs, finalInMs) : pauseMs;
}
