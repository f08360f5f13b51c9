/** The only place that prints: for people, or one JSON document for programs. Errors go to standard error. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Denial, ErrorCode } from '../../governance/errors.ts';
import { ActGuardError, isActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import type { Doors } from './doors.ts';

/** Exit codes: 0 ok, 1 failed, 2 denied, 3 invalid input. */
export const EXIT = { ok: 0, failed: 1, denied: 2, invalid: 3 } as const;

/** What commands print and ask with; connections come with {@link Doors}. */
export interface Output extends Omit<Doors, 'connect' | 'actguard'> {
  /** Whether a program reads us. */
  readonly isJson: () => boolean;
  /** What is under way: standard error, also with `--output json`. */
  readonly progress: (text: string) => void;
  /** Sets the exit code of a command that ends in good order but not well. */
  readonly exitWith: (code: number) => void;
  /** A secret: everything on standard input, or typed without echo. */
  readonly secret: (prompt: string) => Promise<string>;
  /** Prints an error and returns its exit code. */
  readonly error: (error: unknown) => number;
}

/** Makes the output; `isJson` is asked each time, since options are read after commands are registered. */
export function createOutput(isJson: () => boolean): Output {
  return {
    isJson,
    line: (text) => {
      if (!isJson()) process.stdout.write(`${text}\n`);
    },
    json: (value) => {
      if (isJson()) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
    progress: (text) => {
      process.stderr.write(`${text}\n`);
    },
    exitWith: (code) => {
      process.exitCode = code;
    },
    error: (error) => printError(error, isJson()),
    passphrase,
    secret,
    confirm,
  };
}

/** The exit code of an error. */
export function exitCodeOf(error: unknown): number {
  if (!isActGuardError(error)) return EXIT.failed;
  if (INVALID.has(error.code)) return EXIT.invalid;
  return error.denial !== undefined || DENIED.has(error.code) ? EXIT.denied : EXIT.failed;
}

const INVALID: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CONFIG_INVALID', 'ARGUMENTS_INVALID', 'TOOL_UNKNOWN']);
const DENIED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'POLICY_DENIED',
  'POLICY_ERROR',
  'RULE_FAILED',
  'FACT_MISSING',
  'RATE_LIMITED',
  'CIRCUIT_OPEN',
  'CALLS_EXHAUSTED',
  'BUDGET_EXCEEDED',
  'DUPLICATE_EFFECT',
  'IDEMPOTENCY_CONFLICT',
  'APPROVAL_REJECTED',
  'APPROVAL_EXPIRED',
  'APPROVAL_INVALID',
  'FROZEN',
  'HOST_FORBIDDEN',
  'UNAUTHENTICATED',
  'FORBIDDEN',
]);

function printError(error: unknown, json: boolean): number {
  const known = isActGuardError(error) ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${known?.code ?? 'FAILED'}: ${message}\n`);
  if (known?.hint) process.stderr.write(`${known.hint}\n`);
  if (!known && process.env['ACTGUARD_DEBUG'] && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  if (json) {
    const body: { [key: string]: Json } = { code: known?.code ?? 'FAILED', message, details: known?.details ?? {} };
    if (known?.hint) body['hint'] = known.hint;
    if (known?.denial) body['denial'] = known.denial satisfies Denial as unknown as Json;
    process.stdout.write(`${JSON.stringify({ error: body })}\n`);
  }
  return exitCodeOf(error);
}

async function passphrase(prompt: string): Promise<string> {
  const given = process.env['ACTGUARD_PASSPHRASE'];
  if (given !== undefined) return given;
  if (!process.stdin.isTTY) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'a passphrase is needed and there is no terminal to ask on', {
      hint: 'set ACTGUARD_PASSPHRASE',
    });
  }
  return hidden(prompt);
}

/** One line end goes: `echo` and `cat` of a file add one. */
async function secret(prompt: string): Promise<string> {
  if (process.stdin.isTTY) return hidden(prompt);
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(Buffer.from(part as Uint8Array));
  return Buffer.concat(parts)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

async function hidden(prompt: string): Promise<string> {
  // readline echoes what it reads to its output: give it one that swallows everything.
  process.stderr.write(prompt);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await reader.question('');
  } finally {
    reader.close();
    process.stderr.write('\n');
  }
}

async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return true;
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await reader.question(`${question} [y/N] `)).trim());
  } finally {
    reader.close();
  }
}
