/** A source of the user's own: a function. What it throws is not shown: it may hold a secret. */
import type { SecretFunction } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { SecretOrigin } from './secret-cache.ts';

/** @throws BACKEND_UNAVAILABLE when the function throws, CONFIG_INVALID when it gives something else than text */
export function functionSecrets(source: SecretFunction): SecretOrigin {
  return {
    async find(name, _env, owner) {
      let value: unknown;
      try {
        value = await source(name, owner);
      } catch (error) {
        const kind = error instanceof Error ? error.name : 'an error';
        throw new ActGuardError(
          'BACKEND_UNAVAILABLE',
          `the function that gives secrets threw ${kind} for \`${name}\``,
          {
            details: { backend: 'secrets', reason: kind },
          },
        );
      }
      if (value === undefined) return undefined;
      if (typeof value === 'string') return { value };
      throw new ActGuardError('CONFIG_INVALID', `the function that gives secrets gave no text for \`${name}\``, {
        details: { name },
      });
    },
  };
}
