/** P5: spans of calls: one trace a run, names and codes only; nothing without a tracer. */
import { trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, expect, test } from 'vitest';
import { traced } from '../../activities/tracing.ts';
import { ActGuardError } from '../../governance/errors.ts';

const exporter = new InMemorySpanExporter();
const call = { run: '01RUN', call: 'c1', seq: 1, tool: 'payments.refund', args: { iban: 'DE-hidden' } };
afterAll(() => trace.disable());

test('P5 without a tracer nothing is kept, and answers and errors stay as they are', async () => {
  expect(await traced('callTool', call, () => Promise.resolve(7))).toBe(7);
  await expect(traced('callTool', call, () => Promise.reject(new Error('as it was')))).rejects.toThrow('as it was');
  expect(exporter.getFinishedSpans()).toEqual([]);
});

test('P5 a span names run, call, tool, result, code and cost, and holds no content', async () => {
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  const answer = { kind: 'done', output: { note: 'hidden' }, spentMicros: 5 };
  expect(await traced('callTool', call, () => Promise.resolve(answer))).toBe(answer);
  const denial = { code: 'POLICY_DENIED', reason: 'hidden', hint: 'hidden', details: {} };
  await traced('callTool', { ...call, call: 'c2' }, () => Promise.resolve({ kind: 'denied', denial }));
  await traced('callModel', { run: '01RUN', model: 'openai/gpt-5-mini' }, () =>
    Promise.resolve({
      kind: 'failed',
      error: { code: 'MODEL_FAILED', message: 'hidden' },
      spent: { usdMicros: 9, tokens: 4 },
    }),
  );
  const failure = new ActGuardError('BACKEND_UNAVAILABLE', 'hidden');
  await expect(traced('openRun', { run: '02OTHER' }, () => Promise.reject(failure))).rejects.toBe(failure);
  await expect(traced('callTool', call, () => Promise.reject(new Error('hidden')))).rejects.toThrow();

  const spans = exporter.getFinishedSpans();
  expect(spans.map(({ name, status, attributes }) => [name, status.code, attributes])).toEqual([
    ['actguard.callTool', 0, { 'actguard.run': '01RUN', 'actguard.call': 'c1', 'actguard.seq': 1, 'actguard.tool': 'payments.refund', 'actguard.result': 'done', 'actguard.spent_micros': 5 }],
    ['actguard.callTool', 0, { 'actguard.run': '01RUN', 'actguard.call': 'c2', 'actguard.seq': 1, 'actguard.tool': 'payments.refund', 'actguard.result': 'denied', 'actguard.code': 'POLICY_DENIED' }],
    ['actguard.callModel', 2, { 'actguard.run': '01RUN', 'actguard.model': 'openai/gpt-5-mini', 'actguard.result': 'failed', 'actguard.code': 'MODEL_FAILED', 'actguard.spent_micros': 9, 'actguard.spent_tokens': 4 }],
    ['actguard.openRun', 2, { 'actguard.run': '02OTHER' }],
    ['actguard.callTool', 2, { 'actguard.run': '01RUN', 'actguard.call': 'c1', 'actguard.seq': 1, 'actguard.tool': 'payments.refund' }],
  ]); // prettier-ignore
  const text = JSON.stringify(
    spans.map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
  );
  expect(text).not.toContain('hidden');
  const traces = spans.map((span) => span.spanContext().traceId);
  expect(new Set([traces[0], traces[1], traces[2], traces[4]]).size).toBe(1);
  expect(traces[3]).not.toBe(traces[0]);
});
