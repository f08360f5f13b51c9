/** What the approval page's server needs; the composition root makes it (worker/gateway.ts). */
import type { ContentDatabase } from '../activities/deps.ts';
import type { Json } from '../governance/json.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import type { PageFile } from './modules.ts';

/** Everything that the server reaches. It decides nothing: readers see what their key may see, answers go to the run. */
export interface GatewayDeps {
  readonly db: ContentDatabase;
  /** Checks an answer and hands it to its run (client/check-answer.ts). */
  readonly submit: (approvalId: string, envelope: Json) => Promise<{ readonly person: string }>;
  /** Fingerprints of the administrators' keys. */
  readonly roots: readonly string[];
  readonly dev: boolean;
  /** The first origin is where the page is. */
  readonly passkeys: RelyingParty;
  /** The page's own scripts and styles by path. */
  readonly files: ReadonlyMap<string, PageFile>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string, data?: Json) => void;
  /** Milliseconds; for rate limits and nonces. */
  readonly now: () => number;
  /** Requests a minute from one address; default: the limits of governance/limits.ts. */
  readonly perMinute?: { readonly requests: number; readonly signatures: number };
  /** How often live pages ask whether anything was recorded. */
  readonly lookEveryMs: number;
}

/** The origin of the page. */
export function originOf(deps: Pick<GatewayDeps, 'passkeys'>): string {
  return deps.passkeys.origins[0] ?? '';
}
