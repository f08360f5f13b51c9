/** Ids and names, parsed once at the edge; branded, so that unparsed text cannot stand in for them. */
import { quote } from './denial.ts';
import { ActGuardError } from './errors.ts';
import { MAX_ID_CHARS } from './limits.ts';

/** A run's id: a client-made ULID. */
export type RunId = string & { readonly brand: 'RunId' };
/** A tenant's name, checked. */
export type TenantId = string & { readonly brand: 'TenantId' };
/** A subject id of a user, checked. */
export type UserId = string & { readonly brand: 'UserId' };
/** An agent's name, checked. */
export type AgentId = string & { readonly brand: 'AgentId' };

/** The agent of a `budgetGuard` that names none: built in, without tools. */
export const BUDGET_AGENT = 'budget-guard';
/** The tenant of a `budgetGuard` that names none. */
export const DEFAULT_TENANT = 'default';

/** 26 characters of Crockford's base 32 in capitals; the first holds the top 3 of 128 bits (ULID specification). */
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
/** Control, format (bidi, zero-width), private-use and surrogate characters, and every space but U+0020. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

/** @throws ActGuardError ARGUMENTS_INVALID when it is not a ULID in capitals. */
export function parseRunId(value: unknown): RunId {
  if (typeof value === 'string' && ULID.test(value)) return value as RunId;
  throw invalid('run', value, 'is not a run id', 'a run id is a ULID: 26 digits and capital letters');
}

/** @throws ActGuardError ARGUMENTS_INVALID, see {@link parseName}. */
export function parseTenantId(value: unknown): TenantId {
  return parseName(value, 'tenant') as TenantId;
}

/** @throws ActGuardError ARGUMENTS_INVALID, see {@link parseName}. */
export function parseUserId(value: unknown): UserId {
  return parseName(value, 'user') as UserId;
}

/** @throws ActGuardError ARGUMENTS_INVALID, see {@link parseName}. */
export function parseAgentId(value: unknown): AgentId {
  return parseName(value, 'agent') as AgentId;
}

/**
 * A name as people and systems give them: 1 to 128 printable characters in Unicode's composed form (NFC, so that two
 * names that look the same are the same), no space at either end.
 *
 * @param field what the name is for: stands in the error
 * @throws ActGuardError ARGUMENTS_INVALID naming the field
 */
export function parseName(value: unknown, field: string): string {
  const problem = nameProblem(value);
  if (problem === null) return value as string;
  throw invalid(field, value, problem, `use 1 to ${MAX_ID_CHARS} printable characters`);
}

function nameProblem(value: unknown): string | null {
  if (typeof value !== 'string') return 'is not text';
  if (value === '') return 'is empty';
  if (value.length > MAX_ID_CHARS) return `is longer than ${MAX_ID_CHARS} characters`;
  if (!value.isWellFormed() || UNPRINTABLE.test(value)) return 'holds a character that cannot be seen';
  if (value.startsWith(' ') || value.endsWith(' ')) return 'starts or ends with a space';
  if (value.normalize('NFC') !== value) return 'is not in composed form (NFC)';
  return null;
}

function invalid(field: string, value: unknown, problem: string, hint: string): ActGuardError {
  const shown = typeof value === 'string' ? quote(value) : `a ${value === null ? 'null' : typeof value}`;
  return new ActGuardError('ARGUMENTS_INVALID', `${field} ${shown} ${problem}`, { details: { field }, hint });
}
