/** What an attempt means: succeeded, failed or unknown; what it does to the breaker; what it costs. */
import { isNothingHappened } from '../define/nothing-happened.ts';
import type { Tool } from '../define/types.ts';
import type { Fact } from '../governance/call.ts';
import { checkPlainJson } from '../governance/canonical.ts';
import { ERROR_CODES, FAILURE_KINDS, isActGuardError, type CallError, type FailureKind } from '../governance/errors.ts';
import { mintFacts } from '../governance/facts.ts';
import { judgeFailure } from '../governance/effect.ts';
import { classifyFailure, classifyReturned } from '../governance/failure.ts';
import type { Json } from '../governance/json.ts';
import { MAX_ERROR_CHARS, MAX_NAME_CHARS, MAX_OUTPUT_BYTES } from '../governance/limits.ts';
import { costToMicros } from '../governance/money.ts';
import { resultBytes } from '../governance/text.ts';
import { shownOutput } from './transcript.ts';
import type { StoredResult } from './claim.ts';
import type { Attempt, Trace } from './run-tool.ts';
import type { Scrub } from './scrub.ts';

export interface Verdict {
  readonly state: 'succeeded' | 'failed' | 'unknown';
  readonly result: StoredResult | null;
  /** The kind of failure, where there was one. */
  readonly failure: FailureKind | null;
  readonly breaker: 'success' | 'fail' | 'none';
  readonly facts: readonly Fact[];
  readonly spentMicros: number;
  /** What it says that it cost is no amount: its worst case is charged. */
  readonly flagged?: true;
  /** For the question, where the outcome is unknown. */
  readonly reason: string;
}

/** Judges an attempt (EX4, EX6, CB2, D2, D10). Pure but for the tool's own `classify`, `proves` and `actual`; never throws. */
export function judge(tool: Tool, attempt: Ended, secrets: Scrub): Verdict {
  try {
    return judged(tool, attempt, secrets);
  } catch {
    // an output or an error made to break whoever reads it
    if (attempt.kind === 'returned') return unreadableOutput(tool);
    const trace = 'trace' in attempt ? attempt.trace : { nothingLeft: false, usedOther: true, onlyStatus: null };
    return judgeStopped(tool, 'unreadable', trace);
  }
}

/** The tool has answered: it happened (EX6), whatever its answer is. */
function unreadableOutput(tool: Tool): Verdict {
  const spentMicros = tool.manifest.cost?.worstMicros ?? 0;
  const error: CallError = {
    code: 'OUTPUT_INVALID',
    message: 'the output cannot be read',
    details: { tool: tool.name },
  };
  const result: StoredResult = { kind: 'failed', error: error as unknown as Json, spentMicros, bytes: 0 };
  return { state: 'succeeded', failure: null, breaker: 'success', facts: [], reason: '', spentMicros, result };
}

/** An attempt that began. */
type Ended = Exclude<Attempt, { kind: 'not-started' }>;

function judged(tool: Tool, attempt: Ended, secrets: Scrub): Verdict {
  switch (attempt.kind) {
    case 'returned':
      return judgeReturned(tool, attempt.output, secrets);
    case 'threw':
      return judgeThrown(tool, attempt.error, attempt.trace, secrets);
    case 'timeout':
    case 'cancelled':
    case 'lease-lost':
    case 'aborted':
      return judgeStopped(tool, attempt.kind, attempt.trace);
    default:
      return attempt satisfies never;
  }
}

function judgeReturned(tool: Tool, raw: unknown, secrets: Scrub): Verdict {
  const failing = classifyReturned(raw);
  const breaker: Verdict['breaker'] = failing === null ? 'success' : breakerVerdict(tool, failing);
  const base = { state: 'succeeded' as const, failure: failing, breaker, facts: [], reason: '' };
  const spent = (output: unknown): Pick<Verdict, 'spentMicros' | 'flagged'> => costOf(tool, output);
  const refuse = (code: CallError['code'], message: string, kept: Json): Verdict => {
    const { spentMicros } = spent(undefined);
    const error: CallError = { code, message, details: { tool: tool.name } };
    return {
      ...base,
      spentMicros,
      result: { kind: 'failed', error: error as unknown as Json, output: kept, spentMicros, bytes: 0 },
    };
  };
  const value = raw === undefined ? null : raw;
  const problem = checkPlainJson(value);
  if (problem !== null) return refuse('OUTPUT_INVALID', `the output is not plain JSON: ${problem}`, null);
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > MAX_OUTPUT_BYTES) {
    return refuse('LIMIT_EXCEEDED', `the output has ${bytes} bytes; at most ${MAX_OUTPUT_BYTES} are kept`, null);
  }
  const rawOutput = secrets.json(value as Json);
  let output: Json;
  try {
    output = secrets.json(tool.code.parseOutput(value) as Json);
  } catch (error) {
    return refuse(
      'OUTPUT_INVALID',
      error instanceof Error ? secrets.cut(error.message, MAX_ERROR_CHARS) : 'the output does not fit its schema',
      rawOutput,
    );
  }
  let minted: ReturnType<typeof mintFacts>;
  try {
    minted = mintFacts(tool.code.proves as never, output, tool.manifest.facts);
  } catch (error) {
    return refuse('OUTPUT_INVALID', `\`proves\` failed: ${secrets.cut(String(error), MAX_ERROR_CHARS)}`, rawOutput);
  }
  if (minted.kind === 'too-many') {
    return refuse(
      'TOO_MANY_FACTS',
      `the output proves ${minted.count} facts; at most ${tool.manifest.facts.max} are kept`,
      rawOutput,
    );
  }
  const cost = spent(output);
  const { spentMicros } = cost;
  return {
    ...base,
    facts: minted.facts,
    ...cost,
    result: { kind: 'done', output, spentMicros, bytes: resultBytes(shownOutput(output)) },
  };
}

function judgeThrown(tool: Tool, error: unknown, trace: Trace, secrets: Scrub): Verdict {
  const kind = classified(tool, error);
  const state = judgeFailure({
    effect: tool.manifest.effect,
    sent: trace.nothingLeft ? 'nothing' : trace.onlyStatus === null ? 'other' : 'one-answered',
    status: trace.onlyStatus,
    definiteStatuses: tool.manifest.definiteStatuses,
    nothingHappened: isNothingHappened(error),
    usedOther: trace.usedOther,
    stopped: false,
  });
  const nothing = isNothingHappened(error) || trace.nothingLeft;
  const cause = {
    name: error instanceof Error ? secrets.cut(String(error.name), MAX_NAME_CHARS) : 'Error',
    message: secrets.cut(error instanceof Error ? String(error.message) : String(error), MAX_ERROR_CHARS),
    kind,
  };
  const spentMicros = nothing ? 0 : (tool.manifest.cost?.worstMicros ?? 0);
  const failed: CallError = {
    code: isActGuardError(error) && ERROR_CODES.includes(error.code) ? error.code : 'TOOL_FAILED',
    message: `${tool.name} failed: ${cause.message}`,
    details: { tool: tool.name },
    cause,
  };
  return {
    state,
    failure: kind,
    breaker: breakerVerdict(tool, kind),
    facts: [],
    spentMicros,
    reason: `${tool.name} was sent and the answer does not say whether it happened: ${cause.name}`,
    result: { kind: 'failed', error: failed as unknown as Json, spentMicros, bytes: 0 },
  };
}

/** TO2, D8: a write that was stopped is unknown whatever it did; a read has failed. */
function judgeStopped(
  tool: Tool,
  why: 'timeout' | 'cancelled' | 'lease-lost' | 'aborted' | 'unreadable',
  trace: Trace,
): Verdict {
  const { name, timeoutMs, effect } = tool.manifest;
  const timeout = why === 'timeout';
  const message = timeout
    ? `${name} did not answer within ${timeoutMs} ms`
    : `${name} was stopped: ${why === 'aborted' ? 'aborted by a freeze' : why}`;
  const spentMicros = effect === 'read' && trace.nothingLeft ? 0 : (tool.manifest.cost?.worstMicros ?? 0);
  const error: CallError = {
    code: timeout ? 'TOOL_TIMEOUT' : 'TOOL_FAILED',
    message,
    details: timeout ? { tool: name, timeoutMs } : { tool: name },
    cause: { name: timeout ? 'TimeoutError' : 'AbortError', message, kind: timeout ? 'timeout' : 'unknown' },
  };
  return {
    state: effect === 'read' ? 'failed' : 'unknown',
    failure: timeout ? 'timeout' : 'unknown',
    breaker: timeout ? breakerVerdict(tool, 'timeout') : 'none',
    facts: [],
    spentMicros,
    reason: message,
    result: { kind: 'failed', error: error as unknown as Json, spentMicros, bytes: 0 },
  };
}

/** The tool's own word, where it is one. */
function classified(tool: Tool, error: unknown): FailureKind {
  try {
    const own = tool.code.classify?.(error);
    if (own !== undefined && FAILURE_KINDS.includes(own)) return own;
  } catch {
    // a classification that throws says nothing
  }
  return classifyFailure(error);
}

function breakerVerdict(tool: Tool, kind: FailureKind): 'fail' | 'none' {
  return tool.manifest.circuitBreaker?.failOn.includes(kind) ? 'fail' : 'none';
}

/** A fixed cost is due once the body ran; an actual one is what the tool says, its worst case when it says nonsense. */
function costOf(tool: Tool, output: unknown): Pick<Verdict, 'spentMicros' | 'flagged'> {
  const { cost } = tool.manifest;
  if (!cost) return { spentMicros: 0 };
  const spentMicros = cost.worstMicros;
  if (cost.fixed || !tool.code.actualUsd || output === undefined) return { spentMicros };
  try {
    const actual = costToMicros(tool.code.actualUsd(output as never));
    return actual === null ? { spentMicros, flagged: true } : { spentMicros: actual };
  } catch {
    return { spentMicros, flagged: true };
  }
}
