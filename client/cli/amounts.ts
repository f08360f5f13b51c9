/** Amounts as flags: `--usd 5 --tokens 1000 --calls 10`, and who signs. */
import type { Command } from 'commander';
import { parseLimit, type WrittenLimit } from '../../governance/budget.ts';
import type { Limit } from '../../governance/call.ts';

/** Flags of every command that names an amount and is signed. */
export interface AmountFlags {
  readonly usd?: string;
  readonly tokens?: string;
  readonly calls?: string;
  readonly reason: string;
  readonly key?: string;
  readonly tenant?: string;
}

/** Adds the amounts to a command; `what`: what is done with them. */
export function withAmounts(command: Command, what: string): Command {
  return command
    .option('--usd <usd>', `dollars ${what}`)
    .option('--tokens <tokens>', `tokens ${what}`)
    .option('--calls <calls>', `calls ${what}`);
}

/** The amounts as they were written. */
export function writtenAmounts(flags: Pick<AmountFlags, 'usd' | 'tokens' | 'calls'>): WrittenLimit {
  return {
    ...(flags.usd === undefined ? {} : { usd: flags.usd }),
    ...(flags.tokens === undefined ? {} : { tokens: Number(flags.tokens) }),
    ...(flags.calls === undefined ? {} : { calls: Number(flags.calls) }),
  };
}

/** The amounts, in integers. @throws ARGUMENTS_INVALID for zero, negatives, text, another currency, nothing at all */
export function amountsOf(flags: Pick<AmountFlags, 'usd' | 'tokens' | 'calls'>): Limit {
  return parseLimit(writtenAmounts(flags));
}
