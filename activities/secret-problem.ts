/** What cannot serve as a secret: too short, too long, or found in harmless text as well. */
import { ActGuardError } from '../governance/errors.ts';
import { MAX_SECRET_BYTES, MIN_SECRET_BYTES } from '../governance/limits.ts';
import { COMMON_WORDS } from './common-words.ts';

/**
 * Why a value cannot serve as a secret; null: it can. What is short, or stands in harmless text as well, cannot be kept
 * out of outputs without hurting them.
 */
export function secretProblem(value: string): string | null {
  const bytes = Buffer.byteLength(value);
  if (bytes === 0) return 'is empty';
  if (bytes < MIN_SECRET_BYTES) return `is shorter than ${MIN_SECRET_BYTES} bytes`;
  if (bytes > MAX_SECRET_BYTES) return `is longer than ${MAX_SECRET_BYTES} bytes`;
  if (!value.isWellFormed() || value.includes('\0')) return 'is not text';
  const plain = value.trim().toLowerCase();
  if (Buffer.byteLength(plain) < MIN_SECRET_BYTES) return 'is mostly blanks';
  if (new Set(plain).size < MIN_SECRET_SIGNS) return 'repeats a few signs';
  if (isRow(plain) || COMMON_WORDS.has(plain)) return 'is a common word';
  return null;
}

/** CONFIG_INVALID for secrets that cannot serve, by name and reason; values are not told. */
export function unfitSecrets(unfit: readonly { readonly name: string; readonly problem: string }[]): ActGuardError {
  return new ActGuardError('CONFIG_INVALID', unfit.map((one) => `secret \`${one.name}\` ${one.problem}`).join('; '), {
    hint: 'a secret like this cannot be kept out of outputs without hurting harmless text; use a long random one',
    details: { names: unfit.map(({ name }) => name) },
  });
}

const MIN_SECRET_SIGNS = 5;

/** abcdefghijkl, 123456789012, qwertyuiopas. */
function isRow(text: string): boolean {
  return ['abcdefghijklmnopqrstuvwxyz', '01234567890123456789012345678901234567890', 'qwertyuiopasdfghjklzxcvbnm'].some(
    (row) => row.includes(text),
  );
}
