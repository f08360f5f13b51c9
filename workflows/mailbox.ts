/**
 * Messages to a run. Handlers only look and enqueue; verification is an activity of the main loop. What cannot be a
 * valid message starts no activity: it is dropped and counted, so that signals cannot wedge or exhaust a run (trust.md).
 */
import { setHandler } from '@temporalio/workflow';
import { utf8Length } from '../governance/text.ts';
import { MAX_INBOX, MAX_REJECTED_ANSWERS, MAX_SIGNAL_BYTES } from '../governance/limits.ts';
import type { Json } from '../governance/json.ts';
import { findAsk, type GovernorState } from './governor-state.ts';
import { makeHearing } from './readable.ts';
import { approvalSignal, freezeSignal, lookSignal, resolveSignal, thawSignal, topUpSignal } from './messages.ts';

/** A message that looks like one. */
export type Message =
  | { readonly kind: 'answer'; readonly approvalId: string; readonly envelope: Json }
  | { readonly kind: 'freeze'; readonly by: string; readonly reason: string }
  | { readonly kind: 'command'; readonly verb: 'thaw' | 'topUp' | 'resolve'; readonly envelope: Json };

/** What the mailbox needs of its run. */
export interface MailboxOwner {
  getState(): GovernorState;
  readonly inbox: Message[];
  /** Freeze holds at once. */
  freezeNow(by: string, reason: string): void;
  countRejected(): void;
  /** Looks again at a call with an unknown outcome. */
  look(call: string): void;
}

/** Installs the handlers of a governed run. */
export function installMailbox(owner: MailboxOwner): void {
  const accept = (message: Message | null): void => {
    if (message === null || owner.inbox.length >= MAX_INBOX) owner.countRejected();
    else if (message.kind === 'freeze') owner.freezeNow(message.by, message.reason);
    else owner.inbox.push(message);
  };
  const hear = makeHearing();
  setHandler(approvalSignal, (signal: unknown) => accept(readAnswer(owner.getState(), hear(signal))));
  setHandler(freezeSignal, (signal: unknown) => accept(readFreeze(hear(signal))));
  setHandler(thawSignal, (signal: unknown) => accept(readCommand('thaw', hear(signal))));
  setHandler(topUpSignal, (signal: unknown) => accept(readCommand('topUp', hear(signal))));
  setHandler(lookSignal, (signal: unknown) => {
    const call = readObject(hear(signal))?.['call'];
    if (typeof call === 'string') owner.look(call);
    else owner.countRejected();
  });
  setHandler(resolveSignal, (signal: unknown) => accept(readCommand('resolve', hear(signal))));
}

/** An answer to an open ask, with the ask's nonce, small enough, and not one too many. */
export function readAnswer(state: GovernorState, signal: unknown): Message | null {
  const fields = readObject(signal);
  if (!fields || typeof fields['approvalId'] !== 'string' || fields['envelope'] === undefined) return null;
  const open = findAsk(state, fields['approvalId']);
  if (!open || open.ask.nonce !== fields['nonce'] || open.rejectedAnswers >= MAX_REJECTED_ANSWERS) return null;
  return { kind: 'answer', approvalId: fields['approvalId'], envelope: fields['envelope'] as Json };
}

function readFreeze(signal: unknown): Message | null {
  const fields = readObject(signal);
  if (!fields) return null;
  const by = typeof fields['by'] === 'string' ? fields['by'].slice(0, 128) : 'somebody';
  const reason = typeof fields['reason'] === 'string' ? fields['reason'].slice(0, 500) : '';
  return { kind: 'freeze', by, reason };
}

function readCommand(verb: 'thaw' | 'topUp' | 'resolve', signal: unknown): Message | null {
  const fields = readObject(signal);
  if (!fields || fields['envelope'] === undefined) return null;
  return { kind: 'command', verb, envelope: fields['envelope'] as Json };
}

function readObject(signal: unknown): { readonly [key: string]: unknown } | null {
  if (typeof signal !== 'object' || signal === null || Array.isArray(signal)) return null;
  if (utf8Length(JSON.stringify(signal)) > MAX_SIGNAL_BYTES) return null;
  return signal as { readonly [key: string]: unknown };
}
