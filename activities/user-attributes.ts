/** What the deployment knows of a user when a run is opened: looked up once, checked, kept in the grant. */
import type { Users } from '../define/users.ts';
import type { Principal } from '../governance/call.ts';
import { deny, quote } from '../governance/denial.ts';
import { ActGuardError, isActGuardError, type Denial } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { USER_LOOKUP_MS } from '../governance/limits.ts';

/** The attributes, or why the run is not opened (P7). @throws BACKEND_UNAVAILABLE when they cannot be looked up now */
export async function attributesOf(
  users: Users | null,
  { tenant, user }: Principal,
): Promise<{ readonly attributes: JsonObject } | Denial> {
  if (users === null) return { attributes: {} };
  const found = await lookUp(users, { tenant, user });
  try {
    return { attributes: users.parse(found ?? {}) };
  } catch (error) {
    const why = isActGuardError(error) ? error.message : 'it is not JSON';
    if (found === null || found === undefined) {
      return deny('FORBIDDEN', `nobody knows user ${quote(user)} in ${quote(tenant)}`, 'name a user that exists', {
        user,
      });
    }
    const hint = 'mend `users.find` of the configuration, or its schema';
    return deny('CONFIG_INVALID', `what is known of user ${quote(user)} cannot be used: ${why}`, hint, { user });
  }
}

async function lookUp(users: Users, of: { tenant: string; user: string }): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${USER_LOOKUP_MS} ms`)), USER_LOOKUP_MS);
  });
  try {
    return await Promise.race([users.find(of), late]);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'it threw';
    throw new ActGuardError('BACKEND_UNAVAILABLE', `the attributes of a user cannot be looked up: ${why}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
}
