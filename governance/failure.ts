/** What kind of failure an error is (guards.md CB1, CB5, D7), and which kinds a breaker counts (D6). */
import { ActGuardError, isActGuardError, type FailureKind } from './errors.ts';
import { chainOf, field } from './cause.ts';

/** Kinds that a breaker counts unless told otherwise. */
export const DEFAULT_FAIL_ON: readonly FailureKind[] = ['transport', 'timeout', 'overloaded'];
/** Kinds that change nothing unless told otherwise. */
export const DEFAULT_IGNORE_ON: readonly FailureKind[] = ['invalid', 'not_found', 'conflict'];
/** For `failOn`: also count refused credentials and throttling. */
export const STRICT: readonly FailureKind[] = Object.freeze([...DEFAULT_FAIL_ON, 'auth', 'throttled'] as const);
/** For `failOn`: count only what never reached a working server. */
export const INFRA_ONLY: readonly FailureKind[] = Object.freeze(['transport', 'timeout'] as const);

/** gRPC status codes (grpc/doc/statuscodes.md) by number. */
const GRPC_NUMBERS: { readonly [code: number]: string } = {
  3: 'INVALID_ARGUMENT',
  4: 'DEADLINE_EXCEEDED',
  5: 'NOT_FOUND',
  6: 'ALREADY_EXISTS',
  7: 'PERMISSION_DENIED',
  8: 'RESOURCE_EXHAUSTED',
  10: 'ABORTED',
  14: 'UNAVAILABLE',
  16: 'UNAUTHENTICATED',
};

/** What @grpc/grpc-js puts on an error. */
const GRPC_FIELDS = new Set(['code', 'details', 'metadata', 'message', 'stack', 'name', 'cause']);

const GRPC_KINDS = new Map<unknown, FailureKind>([
  ['UNAVAILABLE', 'transport'],
  ['DEADLINE_EXCEEDED', 'timeout'],
  ['RESOURCE_EXHAUSTED', 'throttled'],
  ['PERMISSION_DENIED', 'auth'],
  ['UNAUTHENTICATED', 'auth'],
  ['INVALID_ARGUMENT', 'invalid'],
  ['NOT_FOUND', 'not_found'],
  ['ABORTED', 'conflict'],
  ['ALREADY_EXISTS', 'conflict'],
]);

/** Node's system errors; ECONNABORTED, EPROTO and the E*DOWN family are of the same making as the listed ones. */
const NODE_TRANSPORT = new Set<unknown>([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN'],
  ...['EAI_AGAIN', 'ENOTFOUND', 'EPIPE', 'EPROTO', 'EADDRNOTAVAIL'],
]);
const NODE_TIMEOUT = new Set<unknown>(['ETIMEDOUT', 'ESOCKETTIMEDOUT', 'ERR_SOCKET_CONNECTION_TIMEOUT']);

/** Cloud error codes: AWS, Azure and Alibaba write `ThrottlingException`, `Throttling.User`, `AccessDenied` … */
const CLOUD_KINDS: readonly [RegExp, FailureKind][] = [
  [
    /^(?:throttl|requestthrottled|toomanyrequests|requestlimitexceeded|slowdown|provisionedthroughputexceeded)/i,
    'throttled',
  ],
  [/^(?:accessdenied|accessforbidden|unauthorizedoperation|unrecognizedclient|signaturedoesnotmatch)/i, 'auth'],
  [/^(?:invalidclienttokenid|invalidaccesskeyid|expiredtoken|authfailure|notauthorized)/i, 'auth'],
  [/^(?:requesttimeout|requesttimedout|operationtimedout)/i, 'timeout'],
];

/** The order of CB5: the first that knows an error anywhere in its chain decides. */
const CLASSIFIERS: readonly ((error: object) => FailureKind | null)[] = [
  cloudKind,
  (error) => kindOfStatus(statusOf(error)),
  grpcKind,
  nodeKind,
  sqlKind,
  (error) => (isActGuardError(error) && error.code === 'TOOL_TIMEOUT' ? 'timeout' : null),
];

/**
 * The kind of failure of whatever was thrown (CB5). Each classifier looks through the whole chain of causes before the
 * next one is asked. Never throws. A tool's own `classify` goes before this.
 */
export function classifyFailure(error: unknown): FailureKind {
  const chain = chainOf(error);
  for (const classifier of CLASSIFIERS) {
    for (const link of chain) {
      const kind = classifier(link);
      if (kind !== null) return kind;
    }
  }
  return 'unknown';
}

/** The kind of failure that a returned object admits to by an integer `status` or `statusCode` of 400-599; else null. */
export function classifyReturned(output: unknown): FailureKind | null {
  if (typeof output !== 'object' || output === null || Array.isArray(output)) return null;
  return kindOfStatus(firstStatus(field(output, 'status'), field(output, 'statusCode')));
}

/** The HTTP status (400-599) that an error, its response or a cause carries; null: none. */
export function httpStatusOf(error: unknown): number | null {
  for (const link of chainOf(error)) {
    const status = statusOf(link);
    if (status !== null) return status;
  }
  return null;
}

/** What a breaker counts and what it ignores. */
export interface BreakerKinds {
  readonly failOn: readonly FailureKind[];
  readonly ignoreOn: readonly FailureKind[];
}

/**
 * The kinds as they take effect (D6): naming a kind in one set removes it from the other's default.
 *
 * @throws ActGuardError CONFIG_INVALID when both name the same kind
 */
export function breakerKinds(failOn?: readonly FailureKind[], ignoreOn?: readonly FailureKind[]): BreakerKinds {
  const both = (failOn ?? []).filter((kind) => ignoreOn?.includes(kind));
  if (both.length > 0) {
    throw new ActGuardError('CONFIG_INVALID', `failOn and ignoreOn both name \`${both.join('`, `')}\``, {
      hint: 'name each kind in one of them',
    });
  }
  return {
    failOn: [...new Set(failOn ?? DEFAULT_FAIL_ON.filter((kind) => !ignoreOn?.includes(kind)))],
    ignoreOn: [...new Set(ignoreOn ?? DEFAULT_IGNORE_ON.filter((kind) => !failOn?.includes(kind)))],
  };
}

/** 401, 403 auth; 404 not_found; 409 conflict; 429 throttled; 408 timeout; 500-599 overloaded; other 4xx invalid. */
function kindOfStatus(status: number | null): FailureKind | null {
  if (status === null) return null;
  if (status >= 500) return 'overloaded';
  if (status === 401 || status === 403) return 'auth';
  if (status === 404) return 'not_found';
  if (status === 408) return 'timeout';
  if (status === 409) return 'conflict';
  return status === 429 ? 'throttled' : 'invalid';
}

function statusOf(error: object): number | null {
  const response = field(error, 'response');
  return firstStatus(
    field(error, 'status'),
    field(error, 'statusCode'),
    field(response, 'status'),
    field(response, 'statusCode'),
    field(field(error, '$metadata'), 'httpStatusCode'),
  );
}

function firstStatus(...values: readonly unknown[]): number | null {
  const failing = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 400 && (v as number) <= 599;
  return values.find(failing) ?? null;
}

function cloudKind(error: object): FailureKind | null {
  const nested = field(field(field(error, 'response'), 'Error'), 'Code');
  for (const name of ['code', 'Code', 'errorCode', '__type', 'name'].map((key) => field(error, key)).concat(nested)) {
    if (typeof name !== 'string') continue;
    const code = name.slice(name.lastIndexOf('#') + 1);
    const found = CLOUD_KINDS.find(([pattern]) => pattern.test(code));
    if (found) return found[1];
  }
  return null;
}

/** A number is a gRPC code only on an error that carries nothing else: exit codes and DOMException codes are numbers too. */
function grpcKind(error: object): FailureKind | null {
  const code = field(error, 'code');
  if (typeof code !== 'number') return GRPC_KINDS.get(code) ?? null;
  const shaped = field(error, 'name') === 'ConnectError' || hasOnly(error, GRPC_FIELDS);
  return shaped ? (GRPC_KINDS.get(GRPC_NUMBERS[code]) ?? null) : null;
}

/** Whether `code` is its own and it has no fields but these. */
function hasOnly(error: object, fields: ReadonlySet<string>): boolean {
  try {
    return Object.hasOwn(error, 'code') && Object.keys(error).every((key) => fields.has(key));
  } catch {
    return false;
  }
}

function nodeKind(error: object): FailureKind | null {
  const code = field(error, 'code');
  if (NODE_TIMEOUT.has(code) || field(error, 'name') === 'TimeoutError') return 'timeout';
  if (NODE_TRANSPORT.has(code)) return 'transport';
  if (typeof code !== 'string' || !code.startsWith('UND_ERR_')) return null;
  return code.endsWith('_TIMEOUT') ? 'timeout' : 'transport';
}

/** SQLSTATE (PostgreSQL, appendix A): 40P01 deadlock, 40001 serialisation, 53300 connections, class 42 the statement. */
function sqlKind(error: object): FailureKind | null {
  const code = field(error, 'code');
  if (code === '40P01' || code === '40001') return 'conflict';
  if (code === '53300') return 'overloaded';
  return typeof code === 'string' && /^42[0-9A-Z]{3}$/.test(code) ? 'invalid' : null;
}
