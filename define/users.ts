/** `users`: what policies may know about the people that runs act for, and where a deployment knows it from. */
import type { z } from 'zod';
import type { JsonObject } from '../governance/json.ts';
import { type Checks, isOptions, quote } from './check.ts';
import { checkInputSchema, inputParser } from './schema.ts';

/** A user in a tenant. */
export interface UserRef {
  readonly tenant: string;
  readonly user: string;
}

/**
 * Attributes of users: `principal.department` in policies. They are looked up when a run is opened and are its for as long
 * as it lives.
 *
 * @example
 * users: {
 *   attributes: z.strictObject({ department: z.enum(['finance', 'support']), clearance: z.int().optional() }),
 *   find: ({ tenant, user }) => staff.find(tenant, user), // null: nobody knows this user
 * }
 */
export interface UserOptions {
  readonly attributes: z.ZodObject;
  find(of: UserRef): Promise<object | null> | object | null;
}

/** Checked. */
export interface Users {
  /** JSON Schema of the attributes. */
  readonly json: JsonObject;
  /** @throws ARGUMENTS_INVALID what was found does not fit */
  parse(found: unknown): JsonObject;
  find(of: UserRef): Promise<unknown>;
}

/** Checks the option; null where it is absent. */
export function checkUsers(checks: Checks, value: unknown): Users | null {
  if (value === undefined) return null;
  if (!isOptions(value)) {
    checks.add('users', `must be made of attributes and find, not ${quote(value)}`);
    return null;
  }
  checks.unknownKeys('users', value, ['attributes', 'find']);
  const { find } = value;
  if (typeof find !== 'function') {
    checks.add('users.find', find === undefined ? 'is required' : `must be a function, not ${quote(find)}`);
  }
  const attributes = checkInputSchema(checks, value['attributes'], 'users.attributes');
  if (attributes === null || typeof find !== 'function') return null;
  return {
    json: attributes.json,
    parse: inputParser(attributes.schema, 'the attributes') as Users['parse'],
    find: async (of) => (await (find as UserOptions['find'])(of)) as unknown,
  };
}
