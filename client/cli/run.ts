/** `actguard run AGENT "..."`: starts a governed run, tells what happens as it happens, ends with its result. */
import type { Command } from 'commander';
import type { RunResult } from '../../governance/call.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { formatMicros } from '../../governance/money.ts';
import type { RunState } from '../../workflows/messages.ts';
import type { Run } from '../run.ts';
import { type Doors, withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { exitCodeOf } from './output.ts';
import { visible } from './show-approval.ts';

const LOOK_EVERY_MS = 500;

interface RunFlags {
  readonly user: string;
  readonly tenant: string;
  readonly budgetUsd?: string;
  readonly budgetTokens?: string;
  readonly budgetCalls?: string;
  readonly deadline?: string;
  readonly detach?: boolean;
}

/** Registers the command. */
export function register(program: Command, doors: Io): void {
  program
    .command('run')
    .description('start a governed run of an agent')
    .argument('<agent>', 'the agent, as the configuration names it')
    .argument('<input>', 'what you want, in your own words')
    .requiredOption('--user <user>', 'on whose behalf')
    .requiredOption('--tenant <tenant>', 'in which tenant')
    .option('--budget-usd <usd>', 'dollars the run may spend, e.g. 0.25')
    .option('--budget-tokens <tokens>', 'tokens the run may use')
    .option('--budget-calls <calls>', 'calls the run may make')
    .option('--deadline <duration>', 'how long it may take, e.g. 1h')
    .option('--detach', 'print the run and do not wait for it')
    .action((agent: string, input: string, flags: RunFlags) =>
      withActguard(doors, async (actguard) => {
        const budget = budgetOf(flags);
        const run = await actguard.start(agent, {
          input,
          user: flags.user,
          tenant: flags.tenant,
          ...(budget === null ? {} : { budget }),
          ...(flags.deadline === undefined ? {} : { deadline: flags.deadline }),
        });
        doors.line(`run        ${run.id}`);
        doors.line(`caller     ${visible(actguard.caller)}, on behalf of ${visible(flags.user)}`);
        if (run.url) doors.line(`watch      ${run.url}`);
        if (flags.detach) return doors.json({ run: run.id, url: run.url });
        const result = await follow(run, doors);
        report(run, result, doors);
      }),
    );
}

function budgetOf(flags: RunFlags): { usd?: string; tokens?: number; calls?: number } | null {
  const budget = {
    ...(flags.budgetUsd === undefined ? {} : { usd: flags.budgetUsd }),
    ...(flags.budgetTokens === undefined ? {} : { tokens: Number(flags.budgetTokens) }),
    ...(flags.budgetCalls === undefined ? {} : { calls: Number(flags.budgetCalls) }),
  };
  return Object.keys(budget).length === 0 ? null : budget;
}

/** Waits for the end and says what the run is waiting for meanwhile. */
async function follow(run: Run, doors: Doors): Promise<RunResult> {
  let result: RunResult | undefined;
  let failure: unknown;
  const finished = run.result().then(
    (r) => (result = r),
    (error: unknown) => (failure = error),
  );
  const told = new Set<string>();
  const tell = (line: string): void => {
    if (told.has(line)) return;
    told.add(line);
    doors.line(line);
  };
  while (result === undefined && failure === undefined) {
    await Promise.race([finished, new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))]);
    if (result !== undefined || failure !== undefined) break;
    const state = await run.state().catch(() => null);
    if (state) for (const line of waiting(state)) tell(line);
  }
  if (result === undefined) throw failure;
  return result;
}

function waiting(state: RunState): string[] {
  return [
    ...state.openAsks.map(
      (ask) => `asks       ${visible(ask.title)}\n           answer it: actguard approve ${ask.approvalId}`,
    ),
    ...(state.frozen ? [`frozen     by ${visible(state.frozen.by)}: ${visible(state.frozen.reason)}`] : []),
    ...(state.needed ? [`exhausted  top it up: actguard topup ${state.run} --usd 0.25`] : []),
    ...state.unknownCalls.map((call) => `unknown    call ${call}: look, then actguard resolve ${state.run}/${call}`),
  ];
}

/** The end, for people and machines; the exit code follows from the status. */
function report(run: Run, result: RunResult, doors: Io): void {
  for (const denial of result.denials) doors.line(`denied     ${denial.code}: ${visible(denial.reason)}`);
  doors.line(`${result.status.padEnd(10)} ${visible(result.text)}`);
  doors.line(
    `used       ${formatMicros(result.usage.usdMicros)}, ${result.usage.tokens} tokens, ${result.usage.calls} calls`,
  );
  doors.json({ run: run.id, url: run.url, ...(result as unknown as { [key: string]: Json }) });
  // An agent may answer well after a refusal; where a person said no, what was asked for did not happen.
  const noYes = result.denials.find((d) => d.code === 'APPROVAL_REJECTED' || d.code === 'APPROVAL_EXPIRED');
  if (result.status === 'answered' && noYes === undefined) return;
  const otherwise = result.status === 'expired' ? 'DEADLINE_EXCEEDED' : 'MODEL_FAILED';
  const code = noYes?.code ?? result.denials.at(-1)?.code ?? otherwise;
  doors.progress(`${code}: ${noYes?.reason ?? `the run ended ${result.status}`}`);
  doors.progress(result.text);
  doors.exitWith(exitCodeOf(new ActGuardError(code, result.text)));
}
