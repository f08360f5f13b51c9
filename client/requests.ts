/** What a caller asks for, checked before anything is sent: every problem at once, each naming its field. */
import { userInfo } from 'node:os';
import { parseLimit, type WrittenLimit } from '../governance/budget.ts';
import type { Limit } from '../governance/call.ts';
import { parseDuration } from '../governance/duration.ts';
import { ActGuardError } from '../governance/errors.ts';
import { parseName } from '../governance/id.ts';
import { MAX_INPUT_BYTES } from '../governance/limits.ts';
import { utf8Length } from '../governance/text.ts';
import type { AgentRunInput, SessionInput } from '../workflows/messages.ts';

/** Options of `actguard.start`. */
export interface StartOptions {
  /** The user's own request. */
  readonly input: string;
  readonly user: string;
  readonly tenant: string;
  /** Dollars, tokens, calls, any mix; at most what the configuration allows a run. */
  readonly budget?: WrittenLimit;
  /** How long the run may take: `'1h'`, or milliseconds. */
  readonly deadline?: number | string;
}

/** Only of `actguard.session`. */
export interface IdleOption {
  /** The session ends when it has had no call for this long: `'1h'`, or milliseconds; default 24 h. */
  readonly idle?: number | string;
}

/** The checked request. @throws ARGUMENTS_INVALID naming every field that is wrong */
export function runRequest(
  run: string,
  agent: string,
  options: StartOptions & IdleOption,
): AgentRunInput & Pick<SessionInput, 'idleMs'> {
  const problems: string[] = [];
  const checked = <T>(work: () => T, otherwise: T): T => {
    try {
      return work();
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      return otherwise;
    }
  };
  const name = (field: string, value: unknown): string => checked(() => parseName(value as string, field), '');
  const idleMs = checked(() => (options.idle === undefined ? null : parseDuration(options.idle)), null);
  const request: AgentRunInput & Pick<SessionInput, 'idleMs'> = {
    v: 1,
    run,
    agent: name('agent', agent),
    user: name('user', options.user),
    tenant: name('tenant', options.tenant),
    openedBy: localIdentity(),
    input: checked(() => inputText(options.input), ''),
    budget: checked<Limit | null>(() => (options.budget === undefined ? null : parseLimit(options.budget)), null),
    deadlineMs: checked(
      () => (options.deadline === undefined ? null : Date.now() + parseDuration(options.deadline as number)),
      null,
    ),
    ...(idleMs === null ? {} : { idleMs }),
  };
  if (problems.length > 0) {
    throw new ActGuardError('ARGUMENTS_INVALID', problems.join('; '), {
      hint: 'mend these and start again; nothing was started',
    });
  }
  return request;
}

function inputText(input: unknown): string {
  if (typeof input !== 'string') throw new Error('input has to be text');
  const bytes = utf8Length(input);
  if (bytes > MAX_INPUT_BYTES) throw new Error(`input has ${bytes} bytes, at most ${MAX_INPUT_BYTES} are read`);
  return input;
}

/** Who opens runs without a token: recorded as such, and enough on a dev stack only (docs/callers.md). */
export function localIdentity(): string {
  return `local:${osUser()}`;
}

function osUser(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}
