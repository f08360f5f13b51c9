/** Policy sets: stores one, has a worker activate one by a signed command, lists what is active, by whom and why. */
import { randomBytes } from 'node:crypto';
import type { Database } from '../activities/deps.ts';
import type { PolicyFile } from '../activities/policy-check.ts';
import type { PolicyResult } from '../activities/request-types.ts';
import { toBase64 } from '../governance/base64.ts';
import { makeEntry } from '../governance/entry.ts';
import { ActGuardError } from '../governance/errors.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_POLICY_SETS } from '../governance/limits.ts';
import { type PolicyRole, type PolicyTarget, policyTarget } from '../governance/policy-activation.ts';
import { answerOf } from './answer-of.ts';
import type { ActGuard } from './client.ts';
import { makeCommand } from './commands.ts';
import type { SigningKey } from './keys.ts';

type Rows = Pick<Database, 'query'>;

/** A stored set. */
export interface ListedSet {
  readonly digest: string;
  /** `worker`: the files next to a worker's configuration. */
  readonly source: 'push' | 'worker';
  readonly pushedBy: string;
  readonly pushedAtMs: number;
  readonly files: number;
}

/** An activation, of now or of before. */
export interface ListedActivation {
  readonly id: number;
  /** `*`: every tenant that has none of its own. */
  readonly tenant: string;
  readonly role: PolicyRole;
  /** null: none of its own from then on. */
  readonly digest: string | null;
  readonly replaced: string | null;
  readonly people: readonly string[];
  readonly reason: string;
  readonly activatedAtMs: number;
  readonly active: boolean;
}

/** Sets and activations, newest first. */
export interface ListedPolicies {
  readonly sets: readonly ListedSet[];
  readonly activations: readonly ListedActivation[];
  /** Activations that wait for a second person. */
  readonly proposals: readonly {
    readonly tenant: string;
    readonly digest: string | null;
    readonly replaces: string | null;
    readonly person: string;
    readonly proposedAtMs: number;
  }[];
}

/**
 * Stores a set that was checked (worker/policy.ts) under its digest; it decides nothing until it is activated.
 * @throws LIMIT_EXCEEDED when the database holds too many, BACKEND_UNAVAILABLE
 */
export async function pushPolicies(
  db: Rows,
  set: { readonly digest: string; readonly files: readonly PolicyFile[] },
  by: string,
): Promise<'pushed' | 'again'> {
  const { digest, files } = set;
  const entry = makeEntry({
    kind: 'policy.pushed',
    tenant: EVERY_TENANT,
    run: null,
    key: `policies:pushed:${digest}`,
    atMs: Date.now(),
    data: { policy: digest, source: 'push', by, files: files.map(({ name }) => name) },
  });
  const [row] = await db.query<{ r: 'pushed' | 'again' | 'full' }>('select actguard.push_policies($1::jsonb) as r', [
    JSON.stringify({ digest, files, source: 'push', by, max: MAX_POLICY_SETS, entries: [entry] }),
  ]);
  if (row?.r === 'pushed' || row?.r === 'again') return row.r;
  throw new ActGuardError('LIMIT_EXCEEDED', `the database holds ${MAX_POLICY_SETS} policy sets already`, {
    hint: 'something pushes in a loop: `actguard policy list` shows who',
  });
}

/** @throws BACKEND_UNAVAILABLE */
export async function listPolicies(db: Rows, tenant: string | null): Promise<ListedPolicies> {
  const [row] = await db.query<{ l: ListedPolicies }>('select actguard.list_policies($1) as l', [tenant]);
  return row?.l ?? { sets: [], activations: [], proposals: [] };
}

/** The files of a stored set; null: there is none. @throws BACKEND_UNAVAILABLE */
export async function storedPolicies(
  db: Rows,
  digest: string,
): Promise<{ readonly digest: string; readonly files: readonly PolicyFile[] } | null> {
  const [row] = await db.query<{ s: { digest: string; files: PolicyFile[] } | null }>(
    'select actguard.read_policies($1) as s',
    [digest],
  );
  return row?.s ?? null;
}

/** What is active for exactly this tenant (or `*`), and what was before it. */
export function activeIn(
  listed: ListedPolicies,
  tenant: string,
  role: PolicyRole,
): { readonly digest: string | null; readonly before: string | null } {
  const last = listed.activations.find((a) => a.tenant === tenant && a.role === role);
  return { digest: last?.digest ?? null, before: last?.replaced ?? null };
}

/** Makes and signs an activation. For every tenant a root signs: its public key goes along. */
export function makeActivation(
  target: PolicyTarget,
  about: { readonly tenant: string; readonly replaces: string | null; readonly reason: string },
  key: SigningKey,
  nowMs: number,
): Json {
  const data: JsonObject = {
    replaces: about.replaces,
    ...(about.tenant === EVERY_TENANT ? { publicKey: toBase64(key.publicKey) } : {}),
  };
  const { tenant, reason } = about;
  return makeCommand('activatePolicies', { tenant, target: policyTarget(target), reason, data }, key, nowMs);
}

/**
 * Has a worker activate a set. When this returns `active`, no call begins under the set before it; `proposed`: it
 * loosens and waits for a second person who signs the same.
 * @throws FORBIDDEN when the command does not count, BACKEND_UNAVAILABLE when no worker has answered: it still holds later
 */
export async function activatePolicies(
  actguard: ActGuard,
  envelope: Json,
): Promise<Exclude<PolicyResult, { kind: 'rejected' }>> {
  const nonce = randomBytes(16).toString('hex');
  const result = await answerOf(actguard.startCommand({ v: 1, kind: 'policies', nonce, envelope }));
  if (result.kind !== 'rejected') return result;
  throw new ActGuardError('FORBIDDEN', `the command does not count: ${result.reason}`, {
    hint: 'is the key enrolled as operator or admin in that tenant? for every tenant a root key signs',
  });
}
