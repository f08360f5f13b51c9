/** Matchers for vitest and jest. */
import type {} from 'vitest'; // so that the declaration below finds the module it adds to
import type { ErrorCode } from '../governance/errors.ts';

interface Seen {
  readonly kind?: unknown;
  readonly denial?: { readonly code: ErrorCode; readonly reason: string };
}

interface Verdict {
  readonly pass: boolean;
  readonly message: () => string;
}

/** For `expect.extend`: `toBeDenied(code?)`, `toBeDone()`, `toBePending()`. */
export const matchers = {
  /** The call was refused, with this code where one is given. */
  toBeDenied(received: unknown, code?: ErrorCode): Verdict {
    const { kind, denial } = (received ?? {}) as Seen;
    const pass = kind === 'denied' && (code === undefined || denial?.code === code);
    return {
      pass,
      message: () => `expected a call ${pass ? 'not ' : ''}denied${code ? ` ${code}` : ''}, it is ${said(received)}`,
    };
  },
  /** The call ran. */
  toBeDone: (received: unknown): Verdict => ofKind(received, 'done'),
  /** A person is asked. */
  toBePending: (received: unknown): Verdict => ofKind(received, 'pending'),
};

function ofKind(received: unknown, kind: string): Verdict {
  const pass = ((received ?? {}) as Seen).kind === kind;
  return { pass, message: () => `expected a call ${pass ? 'not ' : ''}${kind}, it is ${said(received)}` };
}

function said(received: unknown): string {
  const { kind, denial } = (received ?? {}) as Seen;
  if (denial) return `denied ${denial.code}: ${denial.reason}`;
  return typeof kind === 'string' ? kind : 'no result of a call';
}

declare module 'vitest' {
  // the parameters have to be vitest's own (version 5), used or not
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> {
    toBeDenied: (code?: ErrorCode) => R;
    toBeDone: () => R;
    toBePending: () => R;
  }
}
