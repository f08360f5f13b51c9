/** `actguard budget show|list|limit|freeze|thaw`: what a run, user, tenant, agent or label may spend, and has spent. */
import type { Command } from 'commander';
import { accountTarget, type AccountRef } from '../../governance/account.ts';
import type { BudgetState } from '../../governance/budget.ts';
import { span } from '../../governance/denial.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json, JsonObject } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import { accountOf, changeAccount, listAccounts, spendBy, type AccountVerb, type ListedAccount } from '../accounts.ts';
import type { ActGuard } from '../client.ts';
import { amountsOf, withAmounts, type AmountFlags } from './amounts.ts';
import { amountText, bar } from './bars.ts';
import { type Doors, withActguard } from './doors.ts';
import { ownKey } from './own-key.ts';
import { visible } from './show-approval.ts';

const WATCH_EVERY_MS = 2_000;
const HOUR_MS = 3_600_000;
const UNITS = ['usdMicros', 'tokens', 'calls'] as const;
const WHAT = 'tenant:NAME, user:NAME, agent:NAME or label:NAME';

/** Registers the commands. */
export function register(program: Command, doors: Doors): void {
  const budget = program
    .command('budget')
    .description('what may be spent and what is: of runs, users, tenants, agents and labels');
  budget
    .command('show')
    .description('limit, spent, reserved by run, window and rate')
    .argument('<what>', `RUN, ${WHAT}`)
    .option('--tenant <tenant>', 'where: for user, agent and label')
    .option('--watch', 'look again every 2 s until interrupted')
    .action((what: string, flags: { tenant?: string; watch?: boolean }) =>
      withActguard(doors, async (actguard) => {
        for (;;) {
          await show(doors, actguard, what, flags.tenant);
          if (!flags.watch) return;
          await new Promise((resolve) => setTimeout(resolve, WATCH_EVERY_MS));
        }
      }),
    );
  budget
    .command('list')
    .description('every account of a tenant')
    .requiredOption('--tenant <tenant>', 'which tenant')
    .action((flags: { tenant: string }) =>
      withActguard(doors, async (actguard) => {
        const accounts = await listAccounts(actguard.db, accountOf(`tenant:${flags.tenant}`, undefined).tenant);
        doors.json({ accounts: accounts as unknown as Json });
        if (accounts.length === 0) doors.line('no account has a limit there');
        for (const account of accounts) print(doors, account);
      }),
    );
  changes(budget, doors);
}

function changes(budget: Command, doors: Doors): void {
  const signed = (command: Command): Command =>
    command
      .option('--tenant <tenant>', 'where: for user, agent and label')
      .requiredOption('--reason <text>', 'why; it stands in the ledger')
      .option('--key <file>', 'your key; default: the key of the dev stack');
  const limit = budget
    .command('limit')
    .description('set the limit of an account, signed with your key; it replaces the one before and its top-ups')
    .argument('<what>', WHAT)
    .option('--window <window>', 'total, day, week or month', 'total')
    .option('--zone <zone>', 'IANA time zone of the window, such as Europe/Berlin');
  signed(withAmounts(limit, 'that may be spent')).action(
    (what: string, flags: AmountFlags & { window: string; zone?: string }) => {
      const { window, zone } = flags;
      const data = { ...amountsOf(flags), window, ...(zone === undefined ? {} : { zone }) };
      return change(doors, what, 'limit', data, flags);
    },
  );
  for (const verb of ['freeze', 'thaw'] as const) {
    const does = verb === 'freeze' ? 'let nothing more be reserved in an account' : 'lift that';
    signed(budget.command(verb).description(`${does}, signed with your key`).argument('<what>', WHAT)).action(
      (what: string, flags: AmountFlags) => change(doors, what, verb, {}, flags),
    );
  }
}

/** Signs and sends a command for an account, and shows what became of it. */
export function change(
  doors: Doors,
  what: string,
  verb: AccountVerb,
  data: JsonObject,
  flags: AmountFlags,
): Promise<void> {
  const account = accountOf(what, flags.tenant);
  return withActguard(doors, async (actguard) => {
    const key = await ownKey(doors, actguard.target.stateDirectory, flags.key);
    await changeAccount(actguard, account, verb, data, flags.reason, key);
    doors.line(`${DONE[verb]} ${visible(accountTarget(account))}, signed by ${visible(key.person)}`);
    await showAccount(doors, actguard, account);
  });
}

const DONE = { limit: 'limited   ', topUp: 'topped up ', freeze: 'frozen    ', thaw: 'thawed    ' } as const;

async function show(doors: Doors, actguard: ActGuard, what: string, tenant: string | undefined): Promise<void> {
  if (what.includes(':') && !what.startsWith('run:')) return showAccount(doors, actguard, accountOf(what, tenant));
  const state = await actguard.run(what.replace(/^run:/, '')).state();
  const { run, limit, usage, reserved, status, needed, labels = {} } = state;
  const { usd: _usd, ...spent } = usage;
  const hour = await spendBy(actguard.db, 'agent', { run, fromMs: Date.now() - HOUR_MS });
  const lastHourMicros = hour.reduce((sum, row) => sum + row.usdMicros, 0);
  const all = { scope: 'run', value: run, status, limit, spent, reserved, lastHourMicros, labels, needed };
  doors.json(all as unknown as JsonObject);
  doors.line(`run:${run}  ${status}`);
  printUnits(doors, { limit, spent, reserved });
  const rate = { lastHourMicros, limit: { usdMicros: limit.usdMicros ?? null }, spent, reserved };
  doors.line(`  rate       ${rateText(rate)}`);
  for (const [label, budget] of Object.entries(labels)) {
    doors.line(`  label:${visible(label)}`);
    printUnits(doors, budget);
  }
  if (needed)
    doors.line(
      `  needs      ${UNITS.flatMap((u) => (needed[u] > 0 ? [amountText(u, needed[u])] : [])).join(', ')} more`,
    );
}

/** A run's units, and its labels'. */
function printUnits(doors: Doors, { limit, spent, reserved }: BudgetState): void {
  for (const unit of UNITS) doors.line(unitLine(unit, limit[unit] ?? null, spent[unit], reserved[unit]));
}

async function showAccount(doors: Doors, actguard: ActGuard, account: AccountRef): Promise<void> {
  const [found] = await listAccounts(actguard.db, account.tenant, account);
  if (!found) {
    const target = accountTarget(account);
    throw new ActGuardError(
      'NOT_FOUND',
      `there is no budget of \`${visible(target)}\` in \`${visible(account.tenant)}\``,
      {
        hint: `set one: actguard budget limit ${visible(target)} --usd 5 --reason "..."`,
      },
    );
  }
  doors.json(found as unknown as Json);
  print(doors, found);
}

function print(doors: Doors, account: ListedAccount): void {
  const { window, zone, resetAtMs, frozen, changed, reservedBy, limit, spent, reserved } = account;
  const when = window === 'total' ? 'for ever' : `a ${window} (${zone})`;
  const until = resetAtMs === null ? '' : `, whole again ${new Date(resetAtMs).toISOString()}`;
  doors.line(`${visible(accountTarget(account))} in ${visible(account.tenant)}: ${when}${until}`);
  for (const unit of UNITS) {
    if (limit[unit] === null && spent[unit] + reserved[unit] === 0) continue;
    doors.line(unitLine(unit, limit[unit], spent[unit], reserved[unit]));
  }
  doors.line(`  rate       ${rateText(account)}`);
  for (const held of reservedBy)
    doors.line(`  reserved   ${formatMicros(held.usdMicros)} by run ${visible(held.run)} (${held.calls} calls)`);
  if (frozen) doors.line(`  frozen     by ${visible(frozen.by)}: ${visible(frozen.reason)}`);
  if (changed) {
    const day = new Date(changed.atMs).toISOString().slice(0, 10);
    doors.line(`  changed    ${changed.verb} by ${visible(changed.by)} on ${day}: ${visible(changed.reason)}`);
  }
}

function unitLine(unit: (typeof UNITS)[number], limit: number | null, spent: number, reserved: number): string {
  const name = (unit === 'usdMicros' ? 'money' : unit).padEnd(10);
  const text = `${amountText(unit, spent)} spent, ${amountText(unit, reserved)} reserved`;
  if (limit === null) return `  ${name} ${text}, no limit`;
  const share = limit > 0 ? Math.floor((100 * spent) / limit) : 100;
  return `  ${name} ${bar(spent, reserved, limit)} ${text} of ${amountText(unit, limit)} (${share} %)`;
}

interface Rate {
  readonly lastHourMicros: number;
  readonly limit: { readonly usdMicros: number | null };
  readonly spent: { readonly usdMicros: number };
  readonly reserved: { readonly usdMicros: number };
}

/** What the last hour cost, and how long the rest lasts at that rate. */
function rateText({ lastHourMicros, limit, spent, reserved }: Rate): string {
  const hour = `${formatMicros(lastHourMicros)} in the last hour`;
  if (limit.usdMicros === null || lastHourMicros === 0) return hour;
  const left = limit.usdMicros - spent.usdMicros - reserved.usdMicros;
  return left <= 0
    ? `${hour}; nothing is left`
    : `${hour}; at that rate the rest lasts ${span((left / lastHourMicros) * HOUR_MS)}`;
}
