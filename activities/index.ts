/**
 * `createActivities(deps)`: every activity of a governed run, bound to its outside world. Workflows know their types
 * only (activities/types.ts).
 */
import { Context } from '@temporalio/activity';
import type { Tool } from '../define/types.ts';
import { endAsk, recordAnswer } from './approvals.ts';
import type { AccountActivities } from './account-types.ts';
import { callModel } from './call-model.ts';
import { callTool } from './call-tool.ts';
import { changeAccount } from './change-account.ts';
import type { CallInfo, CallShared } from './prepared.ts';
import { refuseCommand, verifyCommand } from './commands.ts';
import type { Deps } from './deps.ts';
import { describeAgent } from './describe-agent.ts';
import { eraseContent } from './erase.ts';
import { toFailure } from './failures.ts';
import { changeFreeze } from './freezes.ts';
import { askQuestion } from './ask-question.ts';
import { Grants } from './grant.ts';
import { sweep } from './janitor.ts';
import type { JanitorActivities } from './janitor-types.ts';
import { networkOf } from './network.ts';
import { notify } from './notify.ts';
import { openRun } from './open-run.ts';
import { changePolicies } from './policy-activate.ts';
import { SeenByRuns } from './provenance.ts';
import { refuseUndecodable } from './readable.ts';
import { record } from './record.ts';
import { priceModel, reserveModel, settleModel } from './reserve-model.ts';
import { commandRun } from './run-command.ts';
import { applyResolve } from './resolve.ts';
import { tellRun, temporalEyes } from './temporal.ts';
import { traced } from './tracing.ts';
import type { ReservationActivities } from './reservation-types.ts';
import type { Activities, RunInput } from './types.ts';
import type {
  AgentActivities,
  EraseActivities,
  FreezeActivities,
  PolicyActivities,
  RunCommandActivities,
} from './request-types.ts';

/** What the calls of one worker share. */
export function shareCalls(deps: Deps): CallShared {
  const tools = new Map<string, Tool>(deps.config.tools.map((t) => [t.name, t]));
  const byKind = new Map<string, string[]>();
  for (const tool of tools.values()) {
    for (const kind of tool.manifest.proves) byKind.set(kind, [...(byKind.get(kind) ?? []), tool.name]);
  }
  return {
    deps,
    grants: new Grants(deps.db),
    tools,
    secrets: deps.known,
    network: networkOf(deps.config, deps.dev),
    seen: new SeenByRuns(deps.db),
    provers: (kind) => byKind.get(kind) ?? [],
  };
}

/** The activities of a worker. */
export function createActivities(
  deps: Deps,
): Activities &
  FreezeActivities &
  PolicyActivities &
  ReservationActivities &
  AccountActivities &
  JanitorActivities &
  AgentActivities &
  RunCommandActivities &
  EraseActivities {
  const shared = shareCalls(deps);
  const guarded = async <T>(work: (info: CallInfo) => Promise<T>): Promise<T> => {
    try {
      return await work(currentInfo());
    } catch (error) {
      const failure = toFailure(error, shared.secrets);
      if (failure.type === 'BACKEND_UNAVAILABLE') deps.log('warn', `will be tried again: ${failure.message}`);
      throw failure;
    }
  };
  // What the workflow has to say rides along with whatever it asks next.
  const withEntries = <T>(input: RunInput, work: (info: CallInfo) => Promise<T>): Promise<T> =>
    guarded(async (info) => {
      const { v, run, entries } = input;
      if (entries.length > 0) await record(shared, { v, run, entries, closed: null }, info);
      return work(info);
    });
  const activities: ReturnType<typeof createActivities> = {
    openRun: (input) => traced('openRun', input, () => guarded((info) => openRun(shared, input, info))),
    callTool: (input) => traced('callTool', input, () => guarded((info) => callTool(shared, input, info))),
    callModel: (input) => traced('callModel', input, () => guarded((info) => callModel(shared, input, info))),
    record: (input) => guarded((info) => record(shared, input, info)),
    recordAnswer: (input) => withEntries(input, () => recordAnswer(deps, input)),
    verifyCommand: (input) =>
      withEntries(input, async (info) => {
        const verified = await verifyCommand(deps, input);
        if (verified.kind === 'rejected' || verified.verb !== 'resolve') return verified;
        const applied = await applyResolve(shared, input, verified, info.workflowId);
        if (applied.kind === 'accepted') return applied;
        const { principal } = await shared.grants.of(input.run, info.workflowId);
        return refuseCommand(deps, input, principal.tenant, applied.reason);
      }),
    endAsk: (input) => withEntries(input, () => endAsk(deps, input)),
    changeFreeze: (input) => guarded(() => changeFreeze(deps, input)),
    changeAccount: (input) => guarded(() => changeAccount(deps, input)),
    priceModel: (input) => guarded(() => Promise.resolve(priceModel(shared, input))),
    reserveModel: (input) => guarded((info) => reserveModel(shared, input, info)),
    settleModel: (input) => guarded((info) => settleModel(shared, input, info)),
    changePolicies: (input) =>
      guarded(() => {
        if (deps.policySets) return changePolicies(deps, deps.policySets, input);
        return Promise.resolve({ kind: 'rejected', reason: 'this worker has no policy sets of a database' });
      }),
    commandRun: (input) => guarded(() => commandRun(shared, input, temporalEyes)),
    describeAgent: (input) => guarded(() => Promise.resolve(describeAgent(deps.config, input))),
    eraseContent: (input) => guarded(() => eraseContent(deps, input)),
    sweep: () => guarded(() => sweep(shared, temporalEyes)),
    askQuestion: (input) => guarded((info) => askQuestion(shared, input, info)),
    notify: (input) => guarded(() => notify(deps, input)),
  };
  return refuseUndecodable(activities, shared.secrets);
}

/**
 * Cancelled by a person, or the worker ends now. An attempt that Temporal has given up (its heartbeats did not get
 * through, its workflow was terminated) lives on here: its outcome is better known than unknown.
 */
function stopSignal(context: Context): AbortSignal {
  const stop = new AbortController();
  const given = context.cancellationSignal;
  const look = (): void => {
    const why = context.cancellationDetails;
    if (!(why?.notFound || why?.timedOut || why?.paused || why?.reset)) stop.abort(given.reason);
  };
  if (given.aborted) look();
  else given.addEventListener('abort', look, { once: true });
  return stop.signal;
}

function currentInfo(): CallInfo {
  const context = Context.current();
  const { workflowExecution, attempt } = context.info;
  return {
    workflowId: workflowExecution?.workflowId ?? '',
    temporalRun: workflowExecution?.runId ?? '',
    attempt,
    cancelled: stopSignal(context),
    heartbeat: (progress) => context.heartbeat(progress),
    tell: tellRun,
  };
}
