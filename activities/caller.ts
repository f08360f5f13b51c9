/** Who opens a run (trust.md, Who somebody is): a caller that signed for it, the run that is its parent, or a local identity. */
import { type KeyRow, signerOf } from '../governance/answer.ts';
import { deny, quote } from '../governance/denial.ts';
import { OPENING_PAYLOAD_TYPE } from '../governance/dsse.ts';
import type { Denial } from '../governance/errors.ts';
import { parentOf } from '../governance/family.ts';
import { verifyOpening } from '../governance/opening.ts';
import type { Deps } from './deps.ts';
import type { Grant } from './grant.ts';
import { trustOf } from './trust.ts';
import type { OpenRunInput } from './types.ts';

/** Who it is; `keyId` null: nobody signed. */
export interface Admitted {
  readonly kind: 'admitted';
  /** `caller:<name>`, `run:<parent>`, `local:<os user>`, `workflow:<type>`. */
  readonly openedBy: string;
  readonly keyId: string | null;
}

type CallerAnswer = Admitted | { readonly kind: 'refused'; readonly denial: Denial };

/**
 * Verifies the caller of a run. Without a signature a run is opened where the configuration lets anybody do so, on a dev
 * stack, or by a run of the same tenant and user. @throws BACKEND_UNAVAILABLE
 */
export async function callerOf(deps: Deps, input: OpenRunInput): Promise<CallerAnswer> {
  const { principal, run, opening, openedBy } = input;
  if (opening !== undefined) return verified(deps, input);
  if (openedBy.startsWith('caller:')) return refused('UNAUTHENTICATED', `nobody signed for ${quote(openedBy)}`);
  const needed = (deps.config.callers ?? (deps.dev ? 'anybody' : 'tokens')) === 'tokens';
  if (!needed) return { kind: 'admitted', openedBy, keyId: null };
  const parent = parentOf(openedBy);
  if (parent === null) return refused('UNAUTHENTICATED', `run ${quote(run)} names no caller`);
  const [row] = await deps.db.query<{ g: { grant: Grant; status: string } | null }>(
    'select actguard.read_grant($1) as g',
    [parent],
  );
  const own = row?.g?.grant.principal;
  if (row?.g?.status === 'open' && own?.tenant === principal.tenant && own.user === principal.user) {
    return { kind: 'admitted', openedBy, keyId: null };
  }
  return refused('UNAUTHENTICATED', `run ${quote(run)} is no child of an open run of its tenant and user`);
}

async function verified(deps: Deps, { principal, run, opening }: OpenRunInput): Promise<CallerAnswer> {
  const { tenant, user, agent } = principal;
  const signer = signerOf(opening, OPENING_PAYLOAD_TYPE);
  if (signer.kind === 'invalid') return refused('UNAUTHENTICATED', signer.reason);
  const [row] = await deps.db.query<{ c: { nowMs: number; key: KeyRow | null } }>(
    'select actguard.tenant_command_context($1, $2) as c',
    [tenant, signer.value],
  );
  const trust = trustOf(deps, row?.c.nowMs ?? 0);
  const caller = verifyOpening(opening, { run, tenant, user, agent }, row?.c.key ?? null, trust);
  if (caller.kind !== 'caller') {
    return refused(caller.kind === 'forbidden' ? 'FORBIDDEN' : 'UNAUTHENTICATED', caller.reason);
  }
  return { kind: 'admitted', openedBy: `caller:${caller.key.person}`, keyId: caller.key.keyId };
}

function refused(code: 'UNAUTHENTICATED' | 'FORBIDDEN', reason: string): CallerAnswer {
  const hint =
    code === 'FORBIDDEN'
      ? 'open it for the caller itself, or have an administrator make a token with --acts-for-users'
      : 'give the client a token: `actguard token create`, then ACTGUARD_TOKEN';
  return { kind: 'refused', denial: deny(code, reason, hint, {}) };
}
