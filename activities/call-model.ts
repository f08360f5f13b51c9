/**
 * One governed model call (design, "One governed call"): start transaction, provider, outcome transaction. An attempt
 * that finds its start row already there without an outcome answers `lost` and sends nothing: it is settled in full.
 */
import type { Agent } from '../define/types.ts';
import { deny, frozen, quote } from '../governance/denial.ts';
import type { Denial } from '../governance/errors.ts';
import { LEASE_RENEW_MS, MODEL_TIMEOUT_MS } from '../governance/limits.ts';
import { worstCaseModelCall, type ModelPrice } from '../governance/price.ts';
import { accountRefused, noticesOf, reportMarks, type AccountRefusal } from './accounts.ts';
import { callEntry, workflowEntryRows, type CallFrame } from './call-entries.ts';
import type { Deps, ModelRequest, TranscriptMessage } from './deps.ts';
import type { CallInfo, CallShared } from './prepared.ts';
import type { Grant } from './grant.ts';
import { LiveText } from './live-text.ts';
import { appendEntries } from './ledger.ts';
import { answered, failed, lost, type ModelCall, type Outcome } from './model-outcome.ts';
import { watchForAbort } from './model-abort.ts';
import { freezeModel } from './overrun.ts';
import { decideModel, type DecidedModel } from './policy-models.ts';
import { comparedDigest, PoliciesMoved, underActivePolicies } from './policy-moves.ts';
import { priceOf } from './prices.ts';
import { runRefusal } from './refusals.ts';
import {
  finishModelCall,
  parseResult,
  readTurns,
  refsOf,
  resultMessages,
  modelCallBegun,
  startModelCall,
  type StartAnswer,
} from './transcript.ts';
import type { CallModelInput, CallModelResult, OpenedModel, OpenRunInput } from './types.ts';

/** What model calls share with the other calls of a worker. */
type Shared = Pick<CallShared, 'deps' | 'grants'>;
/** Which Temporal activity this is, and how it reports. */
type Info = Pick<CallInfo, 'workflowId' | 'temporalRun' | 'attempt' | 'cancelled' | 'heartbeat'>;

/**
 * What the workflow has to know to reserve model calls. `price` null: the caller denies PRICE_UNKNOWN.
 *
 * @throws CONFIG_INVALID for an agent without a model or a provider without an address
 */
export async function openedModel(
  { deps }: Shared,
  agent: Agent,
  input: Pick<OpenRunInput, 'input'>,
): Promise<OpenedModel> {
  const name = agent.model ?? '';
  const measured = await deps.models.measure({
    model: name,
    instructions: agent.instructions,
    tools: offered(agent, null),
    messages: [{ role: 'user', text: input.input }],
  });
  const price = priceOf(name, deps.config.prices, Date.now());
  return {
    name,
    price: price?.inputOnly ? null : price, // an agent's model has to answer
    maxTurns: agent.maxTurns,
    maxOutputTokens: agent.maxOutputTokens,
    promptBytes: measured.bytes,
    messages: measured.messages,
    onExhausted: agent.onExhausted,
  };
}

/**
 * Asks the model once. A refusal, a failure and a lost attempt are values; it throws only what Temporal should try
 * again (the database is away) and FORBIDDEN for a run that this workflow did not open.
 */
export function callModel(shared: Shared, input: CallModelInput, info: Info): Promise<CallModelResult> {
  return underActivePolicies(shared.deps, () => decideAndAsk(shared, input, info));
}

/** @throws PoliciesMoved when another set became active before it started: nothing was spent */
async function decideAndAsk(shared: Shared, input: CallModelInput, info: Info): Promise<CallModelResult> {
  const { deps } = shared;
  const grant = await shared.grants.of(input.run, info.workflowId);
  const agent = deps.config.agents.find((a) => a.name === grant.principal.agent);
  const model = agent?.model ?? '';
  const frame: CallFrame = { input: { ...input, tool: model }, grant, dev: deps.dev };
  const before = workflowEntryRows(input.run, grant, input.entries);
  const deadlineMs = Math.min(input.deadlineMs, grant.deadlineMs);
  const price = priceOf(model, deps.config.prices, Date.now());
  const refusal = refuseBefore(agent, model, price, input, deadlineMs);
  // what an earlier attempt may have sent is not refused any more: it is finished, or lost and paid in full (P3)
  const begun = info.attempt > 1 && (await modelCallBegun(deps.db, input.run, input.call));
  if (!agent || !price || (refusal && !begun)) return denied(deps, frame, refusal ?? noAgent(grant), before);

  const call: ModelCall = { deps, frame, input, model, price };
  const policy = deps.policy(grant.principal.tenant);
  const decided = decideModel(deps, policy, grant, { ...input, model });
  if (decided.denial && !begun) return denied(deps, frame, decided.denial, before, decided);
  const started = await startModelCall(deps.db, {
    run: input.run,
    call: input.call,
    seq: input.seq,
    turn: input.turn,
    temporalRun: info.temporalRun,
    continuedFrom: input.continuedFrom ?? null,
    tenant: grant.principal.tenant,
    model,
    policy: comparedDigest(policy),
    reserved: input.reserved,
    label: input.label ?? null,
    refs: refsOf(input.run, input.results),
    before,
    entries: [startedEntry(call, decided)],
    ...lost(call),
  });
  switch (started.kind) {
    case 'finished':
      return parseResult(started.result);
    case 'lost':
      return { kind: 'lost', spent: input.reserved };
    case 'run':
      return denied(deps, frame, runRefusal(started.problem, input.run), []);
    case 'frozen':
      return denied(deps, frame, frozen(started.freeze), []);
    case 'policies':
      throw new PoliciesMoved();
    case 'budget':
      return accountDenied(call, started, info);
    case 'conflict':
      return denied(
        deps,
        frame,
        deny('CONFLICT', `call ${quote(input.call)} was used before`, 'use a new call id'),
        [],
      );
    case 'started':
      return finish(call, await ask(call, agent, started, info, deadlineMs));
    default:
      return started satisfies never;
  }
}

/** Joins the transcript and asks the provider; every way out is an outcome. */
async function ask(
  call: ModelCall,
  agent: Agent,
  started: Extract<StartAnswer, { kind: 'started' }>,
  info: Info,
  deadlineMs: number,
): Promise<Outcome> {
  const { deps, input, model } = call;
  const { grant } = call.frame;
  const timeout = AbortSignal.timeout(Math.max(1, Math.min(MODEL_TIMEOUT_MS, deadlineMs - Date.now())));
  const beating = setInterval(info.heartbeat, LEASE_RENEW_MS);
  const watch = watchForAbort(deps.db, input.run, input.call);
  // it grows in the database while it is written: in clear, so not where content is sealed
  const live =
    started.watched && !deps.db.content.seals ? new LiveText(deps, { run: input.run, call: input.call }) : null;
  try {
    const earlier = readTurns(input.run, started.turns, input.turn);
    const first: TranscriptMessage[] = earlier.length === 0 ? [{ role: 'user', text: grant.input }] : [];
    const incoming = [...first, ...resultMessages(input.results, started.results)];
    const request: ModelRequest = {
      model,
      instructions: agent.instructions,
      tools: offered(agent, grant),
      messages: [...earlier, ...incoming],
      maxOutputTokens: Math.min(input.maxOutputTokens, agent.maxOutputTokens),
      maxPromptBytes: input.promptBytes,
      signal: AbortSignal.any([info.cancelled, timeout, watch.signal]),
      ...(live ? { onText: (more) => live.push(more) } : {}),
    };
    const response = await deps.models.generate(request);
    return await answered(call, incoming, started.turns.at(-1)?.digest ?? null, response);
  } catch (error) {
    const stopped = { timedOut: timeout.aborted, cancelled: info.cancelled.aborted, aborted: watch.signal.aborted };
    return failed(call, error, stopped);
  } finally {
    watch.stop();
    clearInterval(beating);
    await live?.end();
  }
}

async function finish(call: ModelCall, outcome: Outcome): Promise<CallModelResult> {
  const { deps, input } = call;
  const { run } = input;
  const { tenant } = call.frame.grant.principal;
  const overran = outcome.above ? await freezeModel(deps, call.model, { tenant, run, call: input.call }) : [];
  const { kind, marks } = await finishModelCall(deps.db, { tenant, run, call: input.call, ...outcome.request });
  const notices = noticesOf([...overran, ...(await reportMarks(deps, marks))]);
  switch (kind) {
    case 'ok':
      return { ...outcome.result, ...notices };
    case 'conflict':
      return { ...outcome.conflict, ...notices };
    case 'late':
    case 'gone':
      // somebody else answered for this call meanwhile: it was given up and paid in full
      return { kind: 'lost', spent: input.reserved };
    default:
      return kind satisfies never;
  }
}

/** An account has too little: the run waits, or is told when the account changes. */
async function accountDenied(call: ModelCall, answer: AccountRefusal, info: Info): Promise<CallModelResult> {
  const { deps, frame, input } = call;
  const refused = accountRefused(answer, deps.config.budgetWaitMs);
  if (answer.wait) return refused; // not the last word on this call
  await deps.db.query('select actguard.wait_for_account($1, $2, $3)', [answer.account, input.run, info.workflowId]);
  return { ...refused, ...(await denied(deps, frame, refused.denial, [])) };
}

function startedEntry({ frame, input, model, price }: ModelCall, decided: DecidedModel) {
  const data = {
    model,
    turn: input.turn,
    authorization: 'autonomous',
    reserved: { ...input.reserved },
    price: price.version,
    maxOutputTokens: input.maxOutputTokens,
    promptBytes: input.promptBytes,
    ...decided.data,
  };
  return callEntry(frame, 'call.started', 'started', data, decided.content);
}

/** Refusals that need no database. */
function refuseBefore(
  agent: Agent | undefined,
  model: string,
  price: ModelPrice | null,
  input: CallModelInput,
  deadlineMs: number,
): Denial | null {
  if (!agent?.model) return null;
  if (Date.now() >= deadlineMs) {
    return deny('DEADLINE_EXCEEDED', 'the run is past its deadline', 'start a new run', { deadlineMs });
  }
  if (!price) {
    const hint = 'add it to `prices` in the configuration';
    return deny('PRICE_UNKNOWN', `no price is known for model ${quote(model)}`, hint, { model });
  }
  // the reservation is the workflow's word: below the worst case at today's price nothing is sent (P3)
  const { promptBytes, maxOutputTokens, reserved } = input;
  const worst = worstCaseModelCall({ promptBytes, messages: 0, price, maxOutputTokens, left: reserved });
  if (worst.kind === 'ok' && worst.maxOutputTokens === maxOutputTokens) return null;
  return deny(
    'BUDGET_EXCEEDED',
    'less was reserved than this call can cost at the price of today',
    'start a new run: it is opened with the price of today',
    { scope: 'run', limitMicros: reserved.usdMicros, price: price.version },
  );
}

function noAgent(grant: Grant): Denial {
  const name = grant.principal.agent;
  return deny(
    'NOT_FOUND',
    `this worker has no agent ${quote(name)} with a model`,
    'deploy the configuration that the run was opened with',
    { agent: name },
  );
}

async function denied(
  deps: Deps,
  frame: CallFrame,
  denial: Denial,
  before: Parameters<typeof appendEntries>[1],
  decided?: DecidedModel,
): Promise<CallModelResult> {
  const entry = callEntry(
    frame,
    'call.denied',
    'denied',
    { code: denial.code, ...decided?.data },
    { reason: denial.reason, details: denial.details, ...decided?.content },
  );
  await appendEntries(deps.db, [...before, entry]);
  return { kind: 'denied', denial };
}

/** The agent's tools as its model sees them; with a grant, those that are still what the run was opened with. */
function offered(agent: Agent, grant: Grant | null): ModelRequest['tools'] {
  return agent.tools
    .filter((tool) => grant === null || grant.tools[tool.name] === tool.manifest.digest)
    .map(({ manifest }) => ({
      name: manifest.modelName,
      description: manifest.description,
      inputJsonSchema: manifest.inputJsonSchema,
    }));
}
