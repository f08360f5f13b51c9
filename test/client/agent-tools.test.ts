import { afterEach, expect, test, vi } from 'vitest';
import type { AgentInput, AgentResult } from '../../activities/request-types.ts';
import { AgentTools, DESCRIBE_WITHIN_MS } from '../../client/agent-tools.ts';

afterEach(() => vi.useRealTimers());

const offered = { name: 'a.b', modelName: 'a_b', description: 'd', inputJsonSchema: { type: 'object' } };

test('P7 nobody answers in time, or the question fails: the session is opened all the same, and its tools say why not', async () => {
  vi.useFakeTimers();
  let asked = 0;
  const silent = new AgentTools(() => ((asked += 1), new Promise<AgentResult>(() => undefined)));
  const waiting = silent.of('desk');
  await vi.advanceTimersByTimeAsync(DESCRIBE_WITHIN_MS);
  expect(await waiting).toMatchObject({ kind: 'unknown', error: { code: 'BACKEND_UNAVAILABLE' } });
  // what is not known is not remembered
  void silent.of('desk');
  expect(asked).toBe(2);
  const broken = new AgentTools(() => Promise.reject(new Error('gone')));
  expect(await broken.of('desk')).toMatchObject({ kind: 'unknown', error: { code: 'BACKEND_UNAVAILABLE' } });
  const refused = new AgentTools(() => Promise.resolve({ kind: 'rejected', reason: 'there is no agent' }));
  expect(await refused.of('desk')).toMatchObject({ kind: 'unknown', error: { code: 'NOT_FOUND' } });
});

test('a worker is asked once a minute for an agent, each time under a new name', async () => {
  vi.useFakeTimers();
  const asked: AgentInput[] = [];
  const agents = new AgentTools((input) => (asked.push(input), Promise.resolve({ kind: 'agent', tools: [offered] })));
  expect(await agents.of('desk')).toEqual({ kind: 'known', tools: [offered] });
  await Promise.all([agents.of('desk'), agents.of('desk')]);
  expect(asked.map(({ agent }) => agent)).toEqual(['desk']);
  await agents.of('night');
  vi.advanceTimersByTime(60_001);
  await agents.of('desk');
  expect(asked.map(({ agent }) => agent)).toEqual(['desk', 'night', 'desk']);
  expect(new Set(asked.map(({ nonce }) => nonce)).size).toBe(3);
});
