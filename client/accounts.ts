/** Accounts: their limits are changed by signed commands, what they have spent is read. */
import { WithStartWorkflowOperation } from '@temporalio/client';
import type { AccountAnswer } from '../activities/account-types.ts';
import type { Database } from '../activities/deps.ts';
import { accountId, accountTarget, parseAccount, type AccountRef, type AccountState } from '../governance/account.ts';
import { budgetTarget } from '../governance/command.ts';
import { sha256Hex } from '../governance/digest.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_REPORT_ROWS } from '../governance/limits.ts';
import type { budgetAccount } from '../workflows/index.ts';
import { accountWorkflowIdOf } from '../workflows/ids.ts';
import { accountUpdate } from '../workflows/messages.ts';
import type { ActGuard } from './client.ts';
import { makeCommand } from './commands.ts';
import type { SigningKey } from './keys.ts';

/** An account with its window of now. Money in micro-dollars; null: no limit. */
export interface ListedAccount extends AccountRef {
  readonly limit: Units<number | null>;
  readonly window: AccountState['window'];
  readonly zone: string;
  /** Top-ups of this window: `limit` counts them already. */
  readonly extra: Units<number>;
  readonly spent: Units<number>;
  readonly reserved: Units<number>;
  readonly frozen: { readonly by: string; readonly reason: string } | null;
  /** Commands carried out; 0: the configured default. */
  readonly version: number;
  /** The last of them; null: none. */
  readonly changed: {
    readonly verb: AccountVerb;
    readonly by: string;
    readonly reason: string;
    readonly atMs: number;
  } | null;
  /** Milliseconds since the epoch; null: for ever. */
  readonly startsAtMs: number | null;
  readonly resetAtMs: number | null;
  readonly reservedBy: readonly ({ readonly run: string } & Units<number>)[];
  /** Spent in the last hour. */
  readonly lastHourMicros: number;
}

interface Units<T> {
  readonly usdMicros: T;
  readonly tokens: T;
  readonly calls: T;
}

/** What a command does to an account. */
export type AccountVerb = 'limit' | 'topUp' | 'freeze' | 'thaw';

/** A row of {@link spendBy}. */
export interface Spend {
  readonly name: string;
  readonly usdMicros: number;
  readonly tokens: number;
  readonly calls: number;
  /** Held by calls under way. */
  readonly reservedMicros: number;
}

/** What {@link spendBy} can group by. */
export const SPEND_BY = ['user', 'tenant', 'agent', 'tool', 'model', 'label', 'day'] as const;

/**
 * An account as people write it; `tenant:NAME` needs no tenant beside it.
 *
 * @throws ARGUMENTS_INVALID
 */
export function accountOf(target: string, tenant: string | undefined): AccountRef {
  const own = target.startsWith('tenant:') ? target.slice('tenant:'.length) : undefined;
  const parsed = parseAccount(target, tenant ?? own);
  if (parsed.kind === 'ok') return parsed.value;
  const hint =
    own === undefined && tenant === undefined ? 'name the tenant with `--tenant NAME`' : 'such as tenant:acme';
  throw new ActGuardError('ARGUMENTS_INVALID', parsed.reason, { hint });
}

/**
 * Changes an account by a command signed with `key`; when this returns, every later call counts the new limit.
 *
 * @example
 * await changeAccount(actguard, accountOf('tenant:acme', undefined), 'topUp', { usdMicros: 5_000_000 }, 'busy week', key);
 * @throws ARGUMENTS_INVALID, NOT_FOUND (a top-up of what has no limit), CONFLICT (below what is spent and reserved),
 *   FORBIDDEN (the command does not count), BACKEND_UNAVAILABLE
 */
export async function changeAccount(
  actguard: ActGuard,
  account: AccountRef,
  verb: AccountVerb,
  data: JsonObject,
  reason: string,
  key: SigningKey,
): Promise<AccountState> {
  const { tenant } = account;
  if (verb !== 'limit' && (await listAccounts(actguard.db, tenant, account)).length === 0) throw noAccount(account);
  const about = { tenant, target: budgetTarget(account), reason, data };
  const answer = await send(actguard, account, makeCommand(verb, about, key, Date.now()));
  if (answer.kind === 'changed') return answer.state;
  throw new ActGuardError(answer.code, answer.reason, {
    details: { scope: account.scope, value: account.value },
    ...(answer.code === 'FORBIDDEN' ? { hint: 'is the key enrolled as operator in that tenant?' } : {}),
  });
}

/** The accounts of a tenant, or one of them. @throws BACKEND_UNAVAILABLE */
export async function listAccounts(
  db: Pick<Database, 'query'>,
  tenant: string,
  only?: AccountRef,
): Promise<ListedAccount[]> {
  const rows = await db.query<{ a: RawAccount }>('select actguard.list_accounts($1::jsonb) as a', [
    JSON.stringify({ tenant, ...(only ? { scope: only.scope, value: only.value } : {}) }),
  ]);
  return rows.map(({ a }) => listed(a));
}

/** What was spent, the dearest first; days in order, in `zone` (default UTC). @throws BACKEND_UNAVAILABLE */
export async function spendBy(
  db: Pick<Database, 'query'>,
  by: (typeof SPEND_BY)[number],
  only: { readonly tenant?: string; readonly run?: string; readonly fromMs?: number; readonly zone?: string } = {},
): Promise<Spend[]> {
  const rows = await db.query<{ s: Spend }>('select actguard.spend_by($1::jsonb) as s', [
    JSON.stringify({ zone: 'UTC', ...only, by, limit: MAX_REPORT_ROWS }),
  ]);
  return rows.map(({ s }) => s);
}

type Triple<T> = readonly [T, T, T];
type RawAccount = Omit<ListedAccount, 'limit' | 'extra' | 'spent' | 'reserved'> & {
  readonly id: string;
  readonly key: string;
  readonly limits: Triple<number | null>;
  readonly extra: Triple<number>;
  readonly spent: Triple<number>;
  readonly reserved: Triple<number>;
  readonly nowMs: number;
};

function listed({ id: _id, key: _key, nowMs: _now, limits, ...raw }: RawAccount): ListedAccount {
  const units = <T>([usdMicros, tokens, calls]: Triple<T>): Units<T> => ({ usdMicros, tokens, calls });
  const whole = (i: 0 | 1 | 2): number | null => (limits[i] === null ? null : limits[i] + raw.extra[i]);
  const limit = { usdMicros: whole(0), tokens: whole(1), calls: whole(2) };
  return { ...raw, limit, extra: units(raw.extra), spent: units(raw.spent), reserved: units(raw.reserved) };
}

/** A command is carried out in two round trips to the database; later than this, no worker is there. */
const ANSWER_WITHIN_MS = 15_000;

async function send(actguard: ActGuard, account: AccountRef, envelope: Json): Promise<AccountAnswer> {
  const startWorkflowOperation = new WithStartWorkflowOperation<typeof budgetAccount>('budgetAccount', {
    taskQueue: actguard.taskQueue,
    workflowId: accountWorkflowIdOf(accountId(account)),
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    args: [{ v: 1, account }],
    staticSummary: `budget of ${accountTarget(account)} in ${account.tenant}`.slice(0, 200),
  });
  const answer = actguard.client.workflow.executeUpdateWithStart(accountUpdate, {
    args: [{ v: 1, envelope }],
    updateId: sha256Hex(JSON.stringify(envelope)),
    startWorkflowOperation,
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = 'no worker has answered yet; the command stands and is carried out by the next one';
      reject(new ActGuardError('BACKEND_UNAVAILABLE', message, { hint: '`actguard doctor` tells more' }));
    }, ANSWER_WITHIN_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
    answer.catch(() => undefined);
  }
}

function noAccount(account: AccountRef): ActGuardError {
  return new ActGuardError(
    'NOT_FOUND',
    `there is no budget of \`${accountTarget(account)}\` in \`${account.tenant}\``,
    {
      details: { scope: account.scope, value: account.value },
      hint: `set a limit first: actguard budget limit ${accountTarget(account)} --usd 5 --reason "..."`,
    },
  );
}
