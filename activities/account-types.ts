/** What a `budgetAccount` workflow and its activity say to each other. Imported as types only. */
import type { AccountRef, AccountState } from '../governance/account.ts';
import type { ErrorCode } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';

/** A signed command for an account, and what its workflow holds; null: it has heard of no command yet. */
export interface ChangeAccountInput {
  readonly v: 1;
  readonly account: AccountRef;
  readonly state: AccountState | null;
  readonly envelope: Json;
}

export type ChangeAccountResult =
  | {
      readonly kind: 'changed';
      readonly state: AccountState;
      readonly by: string;
      /** Workflows of runs that wait for this account. */
      readonly waiting: readonly string[];
    }
  | AccountRejection;

/** Why a command was not carried out. */
export interface AccountRejection {
  readonly kind: 'rejected';
  readonly code: ErrorCode;
  readonly reason: string;
}

/** What whoever sent the command is told. */
export type AccountAnswer =
  { readonly kind: 'changed'; readonly state: AccountState; readonly by: string } | AccountRejection;

export interface AccountActivities {
  changeAccount(input: ChangeAccountInput): Promise<ChangeAccountResult>;
}
