/** A decision that was made before is not made again; what could differ is never taken from memory. */
import { expect, test } from 'vitest';
import { CedarSet, type CedarAnswer } from '../../activities/policy-cedar.ts';
import { PolicyMemory } from '../../activities/policy-memory.ts';
import { cedarRequest } from '../../activities/policy-request.ts';
import { cedarSchema, policyWorld } from '../../activities/policy-schema.ts';
import { request, tools } from './world.ts';

const ALLOW: CedarAnswer = { kind: 'allow', reasons: ['a'] };

function asked(memory: PolicyMemory, text: string, answer: CedarAnswer): { answer: CedarAnswer; times: number } {
  let times = 0;
  const given = memory.answer(text, () => {
    times += 1;
    return answer;
  });
  return { answer: given, times };
}

test('the same request is asked once; another one is asked', () => {
  const memory = new PolicyMemory();
  expect(asked(memory, '{"n":1}', ALLOW)).toEqual({ answer: ALLOW, times: 1 });
  expect(asked(memory, '{"n":1}', { kind: 'deny', reasons: [] })).toEqual({ answer: ALLOW, times: 0 });
  expect(asked(memory, '{"n":10}', { kind: 'deny', reasons: [] })).toEqual({
    answer: { kind: 'deny', reasons: [] },
    times: 1,
  });
});

test('P7 an error is not remembered', () => {
  const memory = new PolicyMemory();
  expect(asked(memory, 'r', { kind: 'error', message: 'x' }).answer.kind).toBe('error');
  expect(asked(memory, 'r', ALLOW)).toEqual({ answer: ALLOW, times: 1 });
});

test('the answers that were not used for longest are forgotten, the others stay', () => {
  const memory = new PolicyMemory();
  for (let n = 0; n < 2_000; n += 1) asked(memory, `r${n}`, ALLOW);
  expect(asked(memory, 'r0', ALLOW).times).toBe(0);
  asked(memory, 'one more', ALLOW);
  expect(asked(memory, 'r0', ALLOW).times).toBe(0);
  expect(asked(memory, 'r1', ALLOW).times).toBe(1);
});

test('P7 what a policy looks at decides anew each time: an argument, the person, the time, the gates', () => {
  const world = policyWorld(tools, ['refund-desk'], []);
  const set = new CedarSet(
    cedarSchema(world),
    new Map([
      ['small', 'permit (principal == User::"alice", action, resource) when { context.args.amountCents <= 5000 };'],
      ['late', 'forbid (principal, action, resource) when { context.nowMs > 1000 };'],
    ]),
  );
  const decide = (over: Parameters<typeof request>[0]): string =>
    set.decide(cedarRequest(world, request({ nowMs: 1, ...over }), [])).kind;
  const args = (amountCents: number): object => ({ ...(request().args as object), amountCents });
  const principal = { ...request().principal, user: 'alice' };
  for (let round = 0; round < 2; round += 1) {
    expect(decide({ principal, args: args(5000) as never })).toBe('allow');
    expect(decide({ principal, args: args(5001) as never })).toBe('deny');
    expect(decide({ principal: { ...principal, user: 'mallory' }, args: args(5000) as never })).toBe('deny');
    expect(decide({ principal, args: args(5000) as never, nowMs: 1001 })).toBe('deny');
  }
});
