/**
 * One model call: start transaction, provider (its own retries off), outcome transaction. An attempt that finds its
 * start row without an outcome answers `lost` without calling: it may have been sent, so it is paid in full (design,
 * One governed call).
 */
import type { Agent } from '../define/types.ts';
import type { Amount } from '../governance/call.ts';
import { canonicalize } from '../governance/canonical.ts';
import { deny, frozen } from '../governance/denial.ts';
import { makeEntry, type EntryKind, type EntryRow } from '../governance/entry.ts';
import { ActGuardError, isActGuardError, type CallError } from '../governance/errors.ts';
import { classifyFailure } from '../governance/failure.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { HEARTBEAT_TIMEOUT_MS } from '../governance/limits.ts';
import { settleModelCall } from '../governance/price.ts';
import { utf8Length } from '../governance/text.ts';
import { workflowEntryRows } from './call-entries.ts';
import type { CallShared } from './call-tool.ts';
import type { ModelResponse, TranscriptMessage } from './deps.ts';
import type { Grant } from './grant.ts';
import { ModelError } from './model-gateway.ts';
import { pgJson } from './pg-json.ts';
import { priceOf } from './prices.ts';
import { readTurns, resultRef, toolMessages, turnDigest, type ResultsByRef, type StoredTurn } from './transcript.ts';
import type { CallModelInput, CallModelResult, OpenedModel, OpenRunInput } from './types.ts';

/** Beyond the measured request: numbers in it may get a digit longer. */
const MEASURE_SLACK_BYTES = 64;
const RETRIED = ['transport', 'timeout', 'overloaded', 'throttled'];
const NOTHING: Amount = { usdMicros: 0, tokens: 0, calls: 0 };

export interface ModelInfo {
  readonly workflowId: string;
  readonly temporalRun: string;
  readonly cancelled: AbortSignal;
  readonly heartbeat: () => void;
}

type Started =
  | { kind: 'run'; problem: 'unknown' | 'closed' | 'reset' }
  | { kind: 'frozen'; freeze: { scope: string; value: string; by: string; reason: string } }
  | { kind: 'finished'; result: string }
  | { kind: 'lost' }
  | { kind: 'conflict' }
  | { kind: 'started'; turns: StoredTurn[]; results: ResultsByRef };

/** What the workflow needs to reserve this agent's model calls. */
export async function openedModel(shared: CallShared, agent: Agent, input: OpenRunInput): Promise<OpenedModel> {
  const { deps } = shared;
  const name = agent.model ?? '';
  const measured = await deps.models.measure({
    model: name,
    instructions: agent.instructions,
    tools: toolsOf(agent),
    messages: [{ role: 'user', text: input.input }],
  });
  return {
    name,
    price: priceOf(name, deps.config.prices, Date.now()),
    maxTurns: agent.maxTurns,
    maxOutputTokens: agent.maxOutputTokens,
    promptBytes: measured.bytes + MEASURE_SLACK_BYTES,
    messages: measured.messages,
    onExhausted: agent.onExhausted,
  };
}

export async function callModel(shared: CallShared, input: CallModelInput, info: ModelInfo): Promise<CallModelResult> {
  const { deps } = shared;
  const grant = await shared.grants.of(input.run, info.workflowId);
  const agent = deps.config.agents.find((a) => a.name === grant.principal.agent);
  if (!agent?.model)
    throw new ActGuardError('CONFIG_INVALID', `agent \`${grant.principal.agent}\` has no model any more`);
  const started = await start(shared, input, info, grant, agent.model);
  switch (started.kind) {
    case 'run':
      return {
        kind: 'denied',
        denial: deny(
          started.problem === 'closed' ? 'CONFLICT' : 'FROZEN',
          `the run cannot go on: ${started.problem}`,
          'start a new run',
          { scope: 'run', value: input.run, by: 'actguard', reason: started.problem },
        ),
      };
    case 'frozen':
      return { kind: 'denied', denial: frozen(started.freeze) };
    case 'finished':
      return JSON.parse(started.result) as CallModelResult;
    case 'lost':
      return { kind: 'lost', spent: input.reserved };
    case 'conflict':
      throw new ActGuardError('CONFLICT', 'this model call stands already under another turn');
    case 'started':
      return converse(shared, input, info, grant, agent, started);
    default:
      return started satisfies never;
  }
}

async function start(
  shared: CallShared,
  input: CallModelInput,
  info: ModelInfo,
  grant: Grant,
  model: string,
): Promise<Started> {
  const price = priceOf(model, shared.deps.config.prices, Date.now());
  const request = {
    tenant: grant.principal.tenant,
    run: input.run,
    temporalRun: info.temporalRun,
    continuedFrom: input.continuedFrom ?? null,
    before: workflowEntryRows(input.run, grant, input.entries),
    call: input.call,
    seq: input.seq,
    turn: input.turn,
    model,
    reserved: input.reserved,
    refs: input.results.flatMap((r) => (r.kind === 'stored' ? [resultRef(input.run, r.call)] : [])),
    entries: [
      entry(shared, input, grant, 'call.started', 'started', {
        model,
        turn: input.turn,
        authorization: 'autonomous',
        reserved: { ...input.reserved },
        maxOutputTokens: input.maxOutputTokens,
        price: price?.version ?? null,
      }),
    ],
    lostResult: JSON.stringify({ kind: 'lost', spent: input.reserved } satisfies CallModelResult),
    lostEntries: [
      entry(shared, input, grant, 'call.failed', 'lost', {
        model,
        lost: true,
        flagged: true,
        spentMicros: input.reserved.usdMicros,
      }),
    ],
  };
  const [row] = await shared.deps.db.query<{ s: Started }>('select actguard.start_model_call($1::jsonb) as s', [
    pgJson(request),
  ]);
  if (!row) throw new Error('start_model_call answered nothing');
  return row.s;
}

async function converse(
  shared: CallShared,
  input: CallModelInput,
  info: ModelInfo,
  grant: Grant,
  agent: Agent,
  started: Extract<Started, { kind: 'started' }>,
): Promise<CallModelResult> {
  const before = readTurns(input.run, started.turns);
  const joined: TranscriptMessage[] = started.turns.length === 0 ? [{ role: 'user', text: grant.input }] : [];
  joined.push(...toolMessages(input.results, started.results));
  const parent = started.turns.at(-1)?.digest ?? null;
  const beat = setInterval(info.heartbeat, HEARTBEAT_TIMEOUT_MS / 4);
  let response: ModelResponse;
  try {
    response = await shared.deps.models.generate({
      model: agent.model ?? '',
      instructions: agent.instructions,
      tools: toolsOf(agent),
      messages: [...before, ...joined],
      maxOutputTokens: input.maxOutputTokens,
      maxPromptBytes: input.promptBytes,
      signal: info.cancelled,
    });
  } catch (error) {
    return fail(shared, input, grant, agent.model ?? '', error);
  } finally {
    clearInterval(beat);
  }
  const toolCalls = response.toolCalls.map((c) => ({ ...c, args: shared.secrets.json(c.args) }));
  const said: TranscriptMessage = {
    role: 'assistant',
    text: shared.secrets.text(response.text),
    toolCalls: toolCalls.map((c) => ({ id: c.id, toolName: c.toolName, args: c.args })),
  };
  const price = priceOf(agent.model ?? '', shared.deps.config.prices, Date.now());
  const settled = price ? settleModelCall(response.usage, price) : null;
  const spent = settled ?? input.reserved;
  const result: CallModelResult = {
    kind: 'done',
    text: said.text,
    toolCalls,
    usage: response.usage,
    spent,
    bytes: utf8Length(JSON.stringify(JSON.stringify(said))) + 400 * (1 + toolCalls.length),
    messages: 1,
    flagged: settled === null,
  };
  const messages = canonicalize([...joined, said] as unknown as Json);
  const over = spent.usdMicros > input.reserved.usdMicros || spent.tokens > input.reserved.tokens;
  if (over)
    shared.deps.log('error', 'a model used more than was reserved for it', {
      run: input.run,
      call: input.call,
      model: agent.model,
    });
  return finish(shared, input, grant, result, {
    state: 'succeeded',
    usage: response.usage as unknown as Json,
    transcript: {
      messages,
      digest: turnDigest(input.run, input.turn, parent, messages),
      parent,
      bytes: utf8Length(messages),
    },
    entries: [
      entry(shared, input, grant, 'call.succeeded', 'succeeded', {
        model: agent.model,
        turn: input.turn,
        spentMicros: spent.usdMicros,
        tokens: spent.tokens,
        ...(settled === null ? { flagged: true } : {}),
        ...(over ? { overReservation: true } : {}),
      }),
    ],
  });
}

/** A failure that certainly billed nothing spends nothing; anything else is paid at its reservation, flagged. */
async function fail(
  shared: CallShared,
  input: CallModelInput,
  grant: Grant,
  model: string,
  error: unknown,
): Promise<CallModelResult> {
  const free = isActGuardError(error) || (error instanceof ModelError && error.billed !== 'unknown');
  const kind = classifyFailure(error);
  const name = error instanceof ModelError ? error.original : error instanceof Error ? error.name : 'Error';
  const message = shared.secrets.text(error instanceof Error ? error.message : String(error)).slice(0, 1_000);
  const failed: CallError = {
    code: isActGuardError(error) ? error.code : 'MODEL_FAILED',
    message: `${model} failed: ${message}`,
    details: { model },
    cause: { name, message, kind },
  };
  const spent = free ? NOTHING : input.reserved;
  const retry = RETRIED.includes(kind) && !isActGuardError(error);
  const result: CallModelResult = { kind: 'failed', error: failed, spent, retry };
  return finish(shared, input, grant, result, {
    state: 'failed',
    usage: null,
    transcript: null,
    entries: [
      entry(shared, input, grant, 'call.failed', 'failed', {
        model,
        code: failed.code,
        failure: kind,
        spentMicros: spent.usdMicros,
        ...(free ? {} : { flagged: true }),
      }),
    ],
  });
}

interface Outcome {
  readonly state: 'succeeded' | 'failed';
  readonly usage: Json;
  readonly transcript: JsonObject | null;
  readonly entries: readonly EntryRow[];
}

async function finish(
  shared: CallShared,
  input: CallModelInput,
  grant: Grant,
  result: CallModelResult,
  outcome: Outcome,
): Promise<CallModelResult> {
  const lost: CallModelResult = { kind: 'lost', spent: input.reserved };
  const late = [entry(shared, input, grant, 'call.late', 'late', { state: outcome.state })];
  const [row] = await shared.deps.db.query<{ a: { kind: 'ok' | 'late' | 'conflict' | 'gone' } }>(
    'select actguard.finish_model_call($1::jsonb) as a',
    [
      pgJson({
        run: input.run,
        call: input.call,
        ...outcome,
        result: JSON.stringify(result),
        lateEntries: late,
        conflictResult: JSON.stringify(lost),
        conflictEntries: [
          entry(shared, input, grant, 'call.failed', 'conflict', {
            flagged: true,
            spentMicros: input.reserved.usdMicros,
          }),
        ],
      }),
    ],
  );
  return row?.a.kind === 'ok' ? result : lost;
}

function entry(
  shared: CallShared,
  input: CallModelInput,
  grant: Grant,
  kind: EntryKind,
  name: string,
  data: JsonObject,
): EntryRow {
  return makeEntry({
    kind,
    tenant: grant.principal.tenant,
    run: input.run,
    key: `c:${input.seq}:${name}`,
    seq: input.seq,
    call: input.call,
    atMs: Date.now(),
    data: {
      user: grant.principal.user,
      agent: grant.principal.agent,
      ...(shared.deps.dev ? { dev: true } : {}),
      ...data,
    },
  });
}

function toolsOf(agent: Agent) {
  return agent.tools.map((t) => ({
    name: t.manifest.modelName,
    description: t.manifest.description,
    inputJsonSchema: t.manifest.inputJsonSchema,
  }));
}
