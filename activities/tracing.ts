/**
 * OpenTelemetry spans of calls, in whatever tracer the user has set up; without one they cost nothing and go nowhere. All
 * spans of a run are one trace. Attributes are names, numbers and codes: no argument, no output, no text of an error.
 */
import { createHash } from 'node:crypto';
import { type Attributes, type Span, SpanKind, SpanStatusCode, TraceFlags, context, trace } from '@opentelemetry/api';
import { isActGuardError } from '../governance/errors.ts';

/** What of a call's input stands in its span. */
export interface TracedCall {
  readonly run: string;
  readonly call?: string;
  readonly seq?: number;
  readonly tool?: string;
  readonly model?: string;
}

const NAMES = ['run', 'call', 'seq', 'tool', 'model'] as const;

/** Does the work inside a span named `actguard.<what>`; what it answers and throws stays as it is. */
export async function traced<T>(what: string, input: TracedCall, work: () => Promise<T>): Promise<T> {
  const parent = trace.setSpanContext(context.active(), runContext(input.run));
  const tracer = trace.getTracer('actguard');
  const attributes: Attributes = {};
  for (const name of NAMES) {
    const value = input[name];
    if (typeof value === 'string' || typeof value === 'number') attributes[`actguard.${name}`] = value;
  }
  return tracer.startActiveSpan(`actguard.${what}`, { kind: SpanKind.INTERNAL, attributes }, parent, async (span) => {
    try {
      const result = await work();
      noteResult(span, result);
      return result;
    } catch (error) {
      const code = isActGuardError(error) ? error.code : 'FAILED';
      span.setStatus({ code: SpanStatusCode.ERROR, message: code });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** The same for every worker that ever works for the run: its trace is found by the run's id. */
function runContext(run: string) {
  const digest = createHash('sha256').update(`actguard run ${run}`).digest('hex');
  return {
    traceId: digest.slice(0, 32),
    spanId: digest.slice(32, 48),
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
  };
}

function noteResult(span: Span, result: unknown): void {
  if (typeof result !== 'object' || result === null) return;
  const { kind, denial, error, spentMicros, spent } = result as {
    kind?: unknown;
    denial?: { code?: unknown };
    error?: { code?: unknown };
    spentMicros?: unknown;
    spent?: { usdMicros?: unknown; tokens?: unknown };
  };
  const set = (name: string, value: unknown): void => {
    if (typeof value === 'string' || typeof value === 'number') span.setAttribute(`actguard.${name}`, value);
  };
  set('result', kind);
  set('code', denial?.code ?? error?.code);
  set('spent_micros', spentMicros ?? spent?.usdMicros);
  set('spent_tokens', spent?.tokens);
  if (kind === 'failed' || kind === 'unknown') span.setStatus({ code: SpanStatusCode.ERROR, message: String(kind) });
}
