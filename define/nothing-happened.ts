/** How a write says that nothing happened (guards.md EX4): its effect key is free again. */

const NOTHING_HAPPENED = Symbol.for('actguard.nothingHappened');

/**
 * An error to throw from a write's `execute` when it is certain that nothing happened outside: the call is `failed`,
 * not unknown. Thrown after something may have landed it is a lie that costs a second effect.
 *
 * @example
 * if (stock === 0) throw nothingHappened('out of stock');
 */
export function nothingHappened(message: string, options?: ErrorOptions): Error {
  const error = new Error(message, options);
  error.name = 'NothingHappened';
  Object.defineProperty(error, NOTHING_HAPPENED, { value: true });
  return error;
}

/** Whether a thrown value was made by {@link nothingHappened}, also by another copy of the package. */
export function isNothingHappened(value: unknown): boolean {
  return value instanceof Error && (value as { [NOTHING_HAPPENED]?: unknown })[NOTHING_HAPPENED] === true;
}
