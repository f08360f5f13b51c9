/**
 * `budgetAccount`: holds the limits of one account (of a user, tenant, agent or label). Changed by signed commands only,
 * one after the other; runs that wait for the account are told.
 */
import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { AccountAnswer, ChangeAccountResult } from '../activities/account-types.ts';
import type { AccountRef, AccountState } from '../governance/account.ts';
import type { Json } from '../governance/json.ts';
import { CONTINUE_AS_NEW_EVENTS, MAX_SIGNAL_BYTES } from '../governance/limits.ts';
import { utf8Length } from '../governance/text.ts';
import { accountQuery, accountUpdate, budgetChangedSignal, type AccountCommand } from './messages.ts';
import { accounts } from './proxies.ts';
import { holdUntilReadable } from './readable.ts';

/** Input of `budgetAccount`. */
export interface BudgetAccountInput {
  readonly v: 1;
  readonly account: AccountRef;
}

/** An account that nobody commands is none: its workflow ends. */
const FIRST_COMMAND_WITHIN_MS = 60_000;

interface Waiting {
  readonly envelope: Json;
  readonly answer: (answer: AccountAnswer) => void;
}

/** One account for as long as it is heard of; without an account behind it, it ends when its commands are answered. */
export async function budgetAccount(input: BudgetAccountInput, carried: AccountState | null = null): Promise<void> {
  let state = holdUntilReadable(carried);
  if ((input as Partial<BudgetAccountInput> | null | undefined)?.v !== 1) throw invalid('the input cannot be read');
  const queue: Waiting[] = [];
  setHandler(accountQuery, () => state);
  setHandler(accountUpdate, ({ envelope }) => new Promise((answer) => queue.push({ envelope, answer })), {
    validator: checkCommand,
  });
  // started together with its first command
  if (state === null) await condition(() => queue.length > 0, FIRST_COMMAND_WITHIN_MS);
  for (;;) {
    const [next] = queue;
    if (!next) {
      const { historyLength, continueAsNewSuggested } = workflowInfo();
      const isLong = continueAsNewSuggested || historyLength >= CONTINUE_AS_NEW_EVENTS;
      if (state !== null && !isLong) {
        await condition(() => queue.length > 0);
        continue;
      }
      await condition(() => queue.length > 0 || allHandlersFinished());
      if (queue.length > 0) continue;
      if (state === null) return;
      await continueAsNew<typeof budgetAccount>(input, state);
      continue;
    }
    const answer = await change(input.account, state, next.envelope);
    queue.shift();
    if (answer.kind === 'changed') ({ state } = answer);
    next.answer(answer);
  }
}

/** Carries out one command and tells the runs that wait. What cannot be carried out is an answer. */
async function change(account: AccountRef, state: AccountState | null, envelope: Json): Promise<AccountAnswer> {
  let result: ChangeAccountResult;
  try {
    result = await accounts.changeAccount({ v: 1, account, state, envelope });
  } catch {
    return { kind: 'rejected', code: 'BACKEND_UNAVAILABLE', reason: 'the command could not be carried out' };
  }
  holdUntilReadable(result); // it was carried out
  if (result.kind === 'rejected') return result;
  for (const workflowId of result.waiting) {
    // a run that is over needs no word
    void getExternalWorkflowHandle(workflowId)
      .signal(budgetChangedSignal)
      .catch(() => undefined);
  }
  return { kind: 'changed', state: result.state, by: result.by };
}

function checkCommand(command: AccountCommand): void {
  const fields = command as Partial<AccountCommand> | null | undefined;
  if (fields?.v !== 1 || fields.envelope === undefined) throw invalid('the command cannot be read');
  if (utf8Length(JSON.stringify(command)) > MAX_SIGNAL_BYTES) throw invalid('the command is too large');
}

function invalid(message: string): ApplicationFailure {
  return ApplicationFailure.create({ message, type: 'ARGUMENTS_INVALID', nonRetryable: true });
}
