/**
 * Carries out a signed command on an account: verified, applied to what the account's workflow holds, and written with
 * its entry in one transaction. The workflow's state is the truth; the database's row is the copy that claims read.
 */
import {
  accountId,
  accountTarget,
  changeAccount as applyChange,
  extraOf,
  newAccount,
  parseChange,
  unlimitedUnit,
  type AccountChange,
  type AccountRef,
  type AccountState,
  type Window,
} from '../governance/account.ts';
import { signerOf, type KeyRow } from '../governance/answer.ts';
import { budgetTarget, verifySignedCommand, type Command, type CommandKey } from '../governance/command.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { COMMAND_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { makeEntry } from '../governance/entry.ts';
import type { ErrorCode } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import type { AccountRejection, ChangeAccountInput, ChangeAccountResult } from './account-types.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { retryLater } from './failures.ts';
import { pgJson } from './pg-json.ts';
import { trustOf } from './trust.ts';
import { recordRefusedCommand, shownReason } from './refused-command.ts';

/** An account with the counters of its window of now, as `actguard.account_of` answers it; lists are usd, tokens, calls. */
export interface AccountRow {
  readonly id: string;
  readonly tenant: string;
  readonly scope: AccountRef['scope'];
  readonly value: string;
  readonly limits: readonly (number | null)[];
  readonly window: Window;
  readonly zone: string;
  readonly frozen: { readonly by: string; readonly reason: string } | null;
  readonly version: number;
  readonly key: string;
  readonly startsAtMs: number | null;
  readonly resetAtMs: number | null;
  readonly extra: readonly number[];
  readonly spent: readonly number[];
  readonly reserved: readonly number[];
  readonly nowMs: number;
}

type Written =
  | { readonly kind: 'ok'; readonly account: AccountRow; readonly waiting: readonly string[] }
  | { readonly kind: 'below'; readonly account: AccountRow }
  | { readonly kind: 'stale' | 'absent' | 'zone' | 'used' | 'expired' | 'role' };

interface Verified {
  readonly command: Command;
  readonly key: CommandKey;
  readonly keyTenant: string;
  readonly change: AccountChange;
  readonly nowMs: number;
}

/** What is wrong with a command is a value, however hostile. @throws BACKEND_UNAVAILABLE */
export async function changeAccount(
  deps: Deps,
  input: ChangeAccountInput,
  delivery: string = deliveryId(),
): Promise<ChangeAccountResult> {
  const { account } = input;
  const signer = signerOf(input.envelope, COMMAND_PAYLOAD_TYPE);
  if (signer.kind === 'invalid') return rejected('ARGUMENTS_INVALID', signer.reason);
  const [found] = await deps.db.query<{
    c: { nowMs: number; key: (KeyRow & { readonly tenant: string }) | null };
    a: AccountRow | null;
  }>('select actguard.tenant_command_context($1, $2) as c, actguard.read_account($3) as a', [
    account.tenant,
    signer.value,
    accountId(account),
  ]);
  if (!found) throw new Error('the time is not known');
  const { nowMs, key: keyRow } = found.c;
  const { envelope } = input;
  const expected = { tenant: account.tenant, target: budgetTarget(account) };
  const refuse = async (code: ErrorCode, reason: string): Promise<AccountRejection> => {
    if (keyRow) await recordRefusedCommand(deps, { ...expected, envelope, atMs: nowMs, reason, delivery });
    return rejected(code, reason);
  };
  const trusted = verifySignedCommand(envelope, expected, keyRow, trustOf(deps, nowMs));
  if (trusted.kind === 'invalid') return refuse('FORBIDDEN', trusted.reason);
  const { command, key } = trusted.value;
  const change = parseChange(command.verb, command.data);
  if (change.kind === 'invalid') return refuse('ARGUMENTS_INVALID', change.reason);

  const state = stateOf(input, found.a, change.value);
  if (!state) return refuse('NOT_FOUND', `there is no budget of ${accountTarget(account)}: set a limit first`);
  const more = change.value.kind === 'topUp' ? change.value.more : {};
  const unlimited = unlimitedUnit(state, more);
  if (unlimited !== null) return refuse('CONFLICT', `the account has no limit of ${unlimited} that could be topped up`);
  const by = { person: key.person, reason: escapeHidden(command.reason), key: found.a?.key ?? '' };
  const next = applyChange(state, change.value, by);
  const verified = { command, key, keyTenant: keyRow?.tenant ?? '', change: change.value, nowMs };
  const written = await write(deps, input, next, found.a?.version ?? 0, verified, delivery);
  switch (written.kind) {
    case 'ok':
      return { kind: 'changed', state: settledKey(next, written.account), by: key.person, waiting: written.waiting };
    case 'stale':
      throw retryLater('the account was changed at the same moment', 100);
    case 'below':
      return refuse('CONFLICT', belowText(written.account));
    case 'zone':
      return refuse('ARGUMENTS_INVALID', 'there is no such time zone');
    case 'absent':
      return refuse('NOT_FOUND', 'there is no such account');
    case 'used':
    case 'expired':
    case 'role':
      return refuse('FORBIDDEN', REFUSALS[written.kind]);
    default:
      return written satisfies never;
  }
}

const REFUSALS = {
  used: 'the command was used already',
  expired: 'the command has expired',
  role: 'the person is neither operator nor administrator any more',
} as const;

/** What the change starts from: the workflow's state, the configured default, or (a limit) nothing. */
function stateOf(input: ChangeAccountInput, row: AccountRow | null, change: AccountChange): AccountState | null {
  const { state, account } = input;
  if (state !== null && state.version > 0) return state;
  if (row) return rowState(row);
  return change.kind === 'limit' ? newAccount(account, change) : null;
}

/** A row as an account's state: a configured default, or what a workflow that is gone had decided. */
function rowState(row: AccountRow): AccountState {
  const { tenant, scope, value, window, zone, frozen, version, key } = row;
  const [usdMicros, tokens, calls] = row.limits;
  const limit = {
    ...(usdMicros == null ? {} : { usdMicros }),
    ...(tokens == null ? {} : { tokens }),
    ...(calls == null ? {} : { calls }),
  };
  const [extraUsd = 0, extraTokens = 0, extraCalls = 0] = row.extra;
  const amount = { usdMicros: extraUsd, tokens: extraTokens, calls: extraCalls };
  const extra = extraUsd + extraTokens + extraCalls > 0 ? { key, amount } : null;
  return { v: 1, tenant, scope, value, limit, window, zone, frozen, version, extra };
}

/** The window may have turned between looking and writing: what was written is what there is. */
function settledKey(state: AccountState, row: AccountRow): AccountState {
  return state.extra === null || state.extra.key === row.key ? state : { ...state, extra: rowState(row).extra };
}

async function write(
  deps: Deps,
  input: ChangeAccountInput,
  next: AccountState,
  expectedVersion: number,
  { command, key, keyTenant, change, nowMs }: Verified,
  delivery: string,
): Promise<Written> {
  const { tenant, scope, value, limit, window, zone, frozen } = next;
  const data: JsonObject = {
    ...{ verb: command.verb, scope, value, version: next.version, window, zone },
    ...{ person: key.person, key: key.keyId, nonce: command.nonce, reason: escapeHidden(command.reason) },
    limit: { ...limit },
    ...(change.kind === 'topUp' ? { more: { ...change.more } } : {}),
    ...(frozen === null ? {} : { frozen: true }),
    envelopeSha256: digestOf(input.envelope),
    ...(key.dev ? { dev: true } : {}),
  };
  const entry = makeEntry({
    kind: 'account.changed',
    tenant,
    run: null,
    key: `account:${command.nonce}`,
    atMs: nowMs,
    data,
    content: { envelope: input.envelope },
  });
  const [row] = await deps.db.query<{ w: Written }>('select actguard.change_account($1::jsonb) as w', [
    pgJson({
      ...{ id: accountId(next), tenant, scope, value, limit, window, zone, frozen },
      ...{ verb: command.verb, version: expectedVersion, newVersion: next.version },
      changed: { verb: command.verb, by: key.person, reason: escapeHidden(command.reason), atMs: nowMs },
      more: change.kind === 'topUp' ? change.more : null,
      ...(next.extra === null ? {} : { extra: extraOf(next, next.extra.key), extraKey: next.extra.key }),
      ...{ nonce: command.nonce, target: command.target, person: key.person, keyId: key.keyId, keyTenant },
      ...{ roles: key.roles, envelope: input.envelope, expMs: Date.parse(command.exp), delivery, entries: [entry] },
    }),
  ]);
  if (!row) throw new Error('the change answered nothing');
  return row.w;
}

function belowText({ spent, reserved }: AccountRow): string {
  const [usd = 0, tokens = 0, calls = 0] = spent.map((amount, i) => amount + (reserved[i] ?? 0));
  return `the limit is below what is spent and reserved: ${usd} micro-dollars, ${tokens} tokens, ${calls} calls`;
}

function rejected(code: ErrorCode, reason: string): AccountRejection {
  return { kind: 'rejected', code, reason: shownReason(reason) };
}
