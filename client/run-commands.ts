/** Signed commands about a run: what it takes itself while it lives, and what is carried out without it. */
import { randomBytes } from 'node:crypto';
import { unlimitedUnit } from '../governance/account.ts';
import { parseLimit, type WrittenLimit } from '../governance/budget.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import { topUpSignal, type RunState } from '../workflows/messages.ts';
import { answerOf } from './answer-of.ts';
import type { ActGuard } from './client.ts';
import { makeCommand } from './commands.ts';
import type { SigningKey } from './keys.ts';
import { asActGuardError } from './run.ts';

const LOOK_EVERY_MS = 200;
const LOOK_FOR_MS = 15_000;

/** A `resolve` or `recover` (`makeCommand`). @throws FORBIDDEN when it does not count, BACKEND_UNAVAILABLE */
export async function commandRun(actguard: ActGuard, run: string, envelope: Json): Promise<void> {
  const nonce = randomBytes(16).toString('hex');
  const result = await answerOf(actguard.startCommand({ v: 1, kind: 'run', nonce, run, envelope }));
  if (result.kind === 'done') return;
  throw new ActGuardError('FORBIDDEN', `the command does not count: ${result.reason}`, { details: { run } });
}

/**
 * Raises a run's budget, signed with `key`; when this returns, the run goes on with it.
 *
 * @example
 * await topUpRun(actguard, run.id, { usd: 0.5 }, 'a long report', key);
 * @throws ARGUMENTS_INVALID for what is no budget; CONFLICT: the run has ended, or has no limit of that unit; FORBIDDEN: the
 *   command does not count; NOT_FOUND, BACKEND_UNAVAILABLE
 */
export async function topUpRun(
  actguard: ActGuard,
  run: string,
  more: WrittenLimit,
  reason: string,
  key: SigningKey,
): Promise<RunState> {
  const data = parseLimit(more);
  const before = await actguard.run(run).state();
  const about = { tenant: before.tenant, run, reason, data: data as JsonObject };
  const envelope = makeCommand('topUp', about, key, Date.now());
  try {
    await actguard.client.workflow.getHandle(workflowIdOf(run)).signal(topUpSignal, { envelope });
  } catch (error) {
    // its state could be read: it was there
    if (!(error instanceof Error) || error.name !== 'WorkflowNotFoundError') throw asActGuardError(error, run);
    await commandRun(actguard, run, envelope).catch(() => undefined); // recorded as a command that came too late
    throw new ActGuardError('CONFLICT', `run \`${run}\` has ended: it cannot be topped up`, {
      details: { run },
      hint: 'start a new run',
    });
  }
  const holds = (now: RunState): boolean => JSON.stringify(now.limit) !== JSON.stringify(before.limit);
  return untilRun(actguard, run, holds, before.rejectedMessages).catch((error: unknown) => {
    const unit = unlimitedUnit(before, data);
    if (unit === null) throw error;
    const message = `run \`${run}\` has no limit of ${unit} that could be topped up`;
    throw new ActGuardError('CONFLICT', message, { details: { run, unit } });
  });
}

/**
 * Waits until a run shows what was asked for. `before`: how many messages it had rejected when the command was sent.
 * @throws FORBIDDEN when it does not: the command did not count
 */
export async function untilRun(
  actguard: ActGuard,
  run: string,
  holds: (state: RunState) => boolean,
  before = Infinity,
): Promise<RunState> {
  const untilMs = performance.now() + LOOK_FOR_MS;
  for (;;) {
    const state = await actguard.run(run).state();
    if (holds(state)) return state;
    if (state.rejectedMessages > before || performance.now() > untilMs) {
      throw new ActGuardError('FORBIDDEN', 'the command was sent and has not counted', {
        details: { run },
        hint: 'is the key enrolled as operator? `actguard ledger list --run RUN` names the reason',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** The tenant of a run, from the database: also of one that has ended. @throws NOT_FOUND, BACKEND_UNAVAILABLE */
export async function tenantOf(actguard: Pick<ActGuard, 'db'>, run: string): Promise<string> {
  const [row] = await actguard.db.query<{ r: { tenant: string } | null }>('select actguard.run_place($1) as r', [run]);
  if (row?.r) return row.r.tenant;
  throw new ActGuardError('NOT_FOUND', `there is no run \`${run}\``, { details: { run } });
}
