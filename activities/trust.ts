/** What signatures are checked against: pinned roots, the page of passkeys, whether dev keys count, the database's time. */
import type { Trust } from '../governance/enrolment.ts';
import type { Deps } from './deps.ts';
import { signatureChecks } from './signatures.ts';

/** Trust at a moment of the database's clock. */
export function trustOf(deps: Pick<Deps, 'roots' | 'dev' | 'passkeys'>, nowMs: number): Trust {
  return {
    roots: deps.roots,
    dev: deps.dev,
    nowMs,
    passkeys: deps.passkeys ?? null,
    checks: signatureChecks,
  };
}
