import { describe, expect, test } from 'vitest';
import { ActGuardError, type FailureKind } from '../../governance/errors.ts';
import * as failure from '../../governance/failure.ts';
import { breakerKinds, classifyFailure, classifyReturned, httpStatusOf } from '../../governance/failure.ts';

const make = (props: object, message = 'x'): Error => Object.assign(new Error(message), props);
const behind = (cause: unknown): Error => new Error('wrapped', { cause: new Error('twice', { cause }) });

describe('CB5 D7 kinds', () => {
  const cases: [string, unknown, FailureKind][] = [
    ['ThrottlingException', make({ name: 'ThrottlingException' }), 'throttled'],
    ['a cloud code before the status', make({ code: 'Throttling.User', status: 400 }), 'throttled'],
    ['TooManyRequestsException', make({ __type: 'com.amazon#TooManyRequestsException' }), 'throttled'],
    ['AccessDenied in a response', make({ response: { Error: { Code: 'AccessDenied' } } }), 'auth'],
    ['RequestTimeout', make({ Code: 'RequestTimeout', $metadata: { httpStatusCode: 400 } }), 'timeout'],
    ['401', make({ status: 401 }), 'auth'],
    ['403', make({ statusCode: 403 }), 'auth'],
    ['404 on the response', make({ response: { status: 404 } }), 'not_found'],
    ['409', make({ response: { statusCode: 409 } }), 'conflict'],
    ['429', make({ status: 429 }), 'throttled'],
    ['408', make({ status: 408 }), 'timeout'],
    ['500', make({ status: 500 }), 'overloaded'],
    ['599', make({ $metadata: { httpStatusCode: 599 } }), 'overloaded'],
    ['422', make({ status: 422 }), 'invalid'],
    ['a status before gRPC and Node codes', make({ status: 503, code: 'ECONNRESET' }), 'overloaded'],
    ['a thrown response', { status: 404 }, 'not_found'],
    ['gRPC UNAVAILABLE', make({ code: 14, details: '', metadata: {} }), 'transport'],
    ['gRPC UNAVAILABLE by its bare number', behind(make({ code: 14 })), 'transport'],
    ['gRPC DEADLINE_EXCEEDED', make({ code: 4, details: '', metadata: {} }), 'timeout'],
    ['gRPC RESOURCE_EXHAUSTED', make({ code: 'RESOURCE_EXHAUSTED' }), 'throttled'],
    ['gRPC PERMISSION_DENIED', make({ code: 7, name: 'ConnectError' }), 'auth'],
    ['gRPC UNAUTHENTICATED', make({ code: 'UNAUTHENTICATED' }), 'auth'],
    ['gRPC INVALID_ARGUMENT', make({ code: 3, details: '', metadata: {} }), 'invalid'],
    ['gRPC NOT_FOUND', make({ code: 'NOT_FOUND' }), 'not_found'],
    ['gRPC ABORTED', make({ code: 'ABORTED' }), 'conflict'],
    ['gRPC ALREADY_EXISTS', make({ code: 6, details: '', metadata: {} }), 'conflict'],
    ...['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN', 'ENOTFOUND', 'EPIPE'].map(
      (code): [string, unknown, FailureKind] => [code, behind(make({ code })), 'transport'],
    ),
    ['UND_ERR_SOCKET', behind(make({ code: 'UND_ERR_SOCKET' })), 'transport'],
    ['UND_ERR_HEADERS_TIMEOUT', behind(make({ code: 'UND_ERR_HEADERS_TIMEOUT' })), 'timeout'],
    ['UND_ERR_CONNECT_TIMEOUT', make({ code: 'UND_ERR_CONNECT_TIMEOUT' }), 'timeout'],
    ['ETIMEDOUT', make({ code: 'ETIMEDOUT' }), 'timeout'],
    ['a TimeoutError', new DOMException('late', 'TimeoutError'), 'timeout'],
    ['happy eyeballs', new AggregateError([make({ code: 'ECONNREFUSED' }), make({})]), 'transport'],
    ['the last error of many tries', make({ lastError: make({ status: 429 }) }), 'throttled'],
    ['40P01', make({ code: '40P01' }), 'conflict'],
    ['40001', make({ code: '40001' }), 'conflict'],
    ['53300', make({ code: '53300' }), 'overloaded'],
    ['42P01', make({ code: '42P01' }), 'invalid'],
    ['our own timeout', new ActGuardError('TOOL_TIMEOUT', 'x'), 'timeout'],
  ];
  test.each(cases)('%s', (_name, error, kind) => {
    expect(classifyFailure(error)).toBe(kind);
  });

  const unknown: [string, unknown][] = [
    ['a plain error', new Error('ECONNREFUSED in the text')],
    ['undefined', undefined],
    ['text', 'timeout'],
    ['null', null],
    ['the exit code of a child process', make({ code: 14, killed: false, signal: null, cmd: 'x' })],
    ['a DOMException whose legacy code is a gRPC number', new DOMException('x', 'NotFoundError')],
    ['an abort', new DOMException('x', 'AbortError')],
    ['a status that is text', make({ status: '404' })],
    ['a status of success', make({ status: 200 })],
    ['a status beyond HTTP', make({ status: 600 })],
    ['a fraction', make({ status: 404.5 })],
    ['gRPC UNIMPLEMENTED', make({ code: 12, details: '', metadata: {} })],
    ['another SQLSTATE', make({ code: '23505' })],
    ['a property that throws', Object.defineProperty({}, 'status', { get: () => { throw new Error('no'); } })], // prettier-ignore
  ];
  test.each(unknown)('unknown: %s', (_name, error) => {
    expect(classifyFailure(error)).toBe('unknown');
  });

  test('a chain of causes that is a cycle, and a very long one, end', () => {
    const one = make({});
    const two = make({ cause: one });
    one.cause = two;
    expect(classifyFailure(one)).toBe('unknown');
    two.cause = make({ code: 'ECONNRESET', cause: one });
    expect(classifyFailure(one)).toBe('transport');
    let deep: Error = make({ status: 500 });
    for (let i = 0; i < 100_000; i += 1) deep = make({ cause: deep });
    expect(classifyFailure(deep)).toBe('unknown');
  });
});

test('CB5 a returned object with a failing status counts', () => {
  expect(classifyReturned({ status: 503 })).toBe('overloaded');
  expect(classifyReturned({ statusCode: 400 })).toBe('invalid');
  expect(classifyReturned({ status: 'error', statusCode: 404 })).toBe('not_found');
  for (const fine of [
    { status: 200 },
    { status: '500' },
    { status: 399 },
    { status: 600 },
    { code: 500 },
    [{ status: 500 }],
    500,
    null,
  ]) {
    expect(classifyReturned(fine)).toBeNull();
  }
});

test('EX4 the status of an error, its response or its cause', () => {
  expect(httpStatusOf(make({ status: 422 }))).toBe(422);
  expect(httpStatusOf(behind(make({ response: { status: 404 } })))).toBe(404);
  expect(httpStatusOf(make({ status: 302 }))).toBeNull();
  expect(httpStatusOf(undefined)).toBeNull();
});

describe('CB1 D6 the sets as they take effect', () => {
  test('defaults and presets', () => {
    expect(breakerKinds()).toEqual({
      failOn: ['transport', 'timeout', 'overloaded'],
      ignoreOn: ['invalid', 'not_found', 'conflict'],
    });
    expect([...failure.STRICT].sort()).toEqual(['auth', 'overloaded', 'throttled', 'timeout', 'transport']);
    expect([...failure.INFRA_ONLY].sort()).toEqual(['timeout', 'transport']);
    expect(breakerKinds(failure.STRICT).ignoreOn).toEqual(['invalid', 'not_found', 'conflict']);
  });

  test('naming a kind in one removes it from the default of the other', () => {
    expect(breakerKinds(['conflict']).ignoreOn).toEqual(['invalid', 'not_found']);
    expect(breakerKinds(undefined, ['timeout'])).toEqual({
      failOn: ['transport', 'overloaded'],
      ignoreOn: ['timeout'],
    });
  });

  test('naming a kind in both is CONFIG_INVALID', () => {
    expect(() => breakerKinds(['timeout', 'auth'], ['auth'])).toThrow(/both name `auth`/);
    expect(() => breakerKinds(['timeout'], ['auth'])).not.toThrow();
  });
});
