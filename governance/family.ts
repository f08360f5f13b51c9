/** Runs that other runs open: their ids, and how they are told from runs that people open (guards.md BU7). */
import { sha256, utf8Bytes } from './digest.ts';

/** Crockford's base 32 (ULID specification). */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const PREFIX = 'run:';

/** The id of the run that a run opens under one of its numbers: the same in every replay. */
export function childRunOf(parent: string, seq: number): string {
  const bytes = sha256(utf8Bytes(JSON.stringify(['child', parent, seq])));
  // 26 characters of a ULID hold 130 bits; the first one is at most 7
  return Array.from({ length: 26 }, (_, i) => ALPHABET[(bytes[i] ?? 0) % (i === 0 ? 8 : 32)]).join('');
}

/** Who has opened a child: its parent. */
export function childOpenedBy(parent: string): string {
  return `${PREFIX}${parent}`;
}

/** The run that opened a run; null: none did. */
export function parentOf(openedBy: string): string | null {
  return isChild(openedBy) ? openedBy.slice(PREFIX.length) : null;
}

/** Whether a run was opened by another: its request is that run's words, not a user's, and its budget is that run's. */
export function isChild(openedBy: string): boolean {
  return openedBy.startsWith(PREFIX);
}
