/**
 * Which policy set decides where: a tenant's own activated one, else that of every tenant, else the files next to the
 * worker's configuration. Rows in the database prove nothing: the texts of a set have to give its digest, and its
 * activation is verified to a root, before anything is decided by it. What does not hold denies everything there.
 */
import { type EntryRow, makeEntry } from '../governance/entry.ts';
import { ActGuardError, isActGuardError } from '../governance/errors.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import { MAX_LOADED_POLICY_SETS, MAX_POLICY_SETS } from '../governance/limits.ts';
import type { PolicyRole } from '../governance/policy-activation.ts';
import type { Deps, PolicyEngine } from './deps.ts';
import { checkPolicies, type CheckedPolicies, type PolicyFile, type PolicySources } from './policy-check.ts';
import { type ActivationEvidence, verifyActivation } from './policy-evidence.ts';
import { pgJson } from './pg-json.ts';
import { policyEngine, type LoadedPolicies } from './policy.ts';

/** A set that was checked against this deployment's tools. */
export interface StoredSet {
  readonly checked: CheckedPolicies;
  readonly engine: LoadedPolicies;
}

interface Active {
  readonly tenant: string;
  readonly role: PolicyRole;
  readonly digest: string;
  readonly evidence: readonly ActivationEvidence[];
}

/** What decides, and the store it comes from. */
export class PolicyStore {
  readonly #deps: Pick<Deps, 'db' | 'roots' | 'dev' | 'passkeys' | 'log'>;
  readonly #world: Omit<PolicySources, 'files'>;
  readonly #files: StoredSet;
  readonly #sets = new Map<string, StoredSet>();
  #epoch = -1;
  #active = new Map<string, PolicyEngine>();
  #reading: Promise<void> | undefined;

  /** @param files what the worker's own folder holds, already loaded */
  constructor(
    deps: Pick<Deps, 'db' | 'roots' | 'dev' | 'passkeys' | 'log'>,
    world: Omit<PolicySources, 'files'>,
    files: readonly PolicyFile[],
  ) {
    this.#deps = deps;
    this.#world = world;
    this.#files = this.#check(files);
  }

  /** The set that decides in a tenant. */
  of(tenant: string): PolicyEngine {
    return this.#active.get(`enforced ${tenant}`) ?? this.#active.get('enforced *') ?? this.#files.engine;
  }

  /** The set that is evaluated beside it and not enforced. */
  shadow(tenant: string): PolicyEngine | undefined {
    return this.#active.get(`shadow ${tenant}`) ?? this.#active.get('shadow *');
  }

  /** Reads what is active, if it moved. A set that does not hold is logged and denies. @throws BACKEND_UNAVAILABLE */
  async poll(): Promise<void> {
    const [row] = await this.#deps.db.query<{ e: string }>('select actguard.policy_epoch() as e');
    if (Number(row?.e ?? 0) !== this.#epoch) await this.refresh();
  }

  /** Reads what is active; several callers at once share one look that began after they asked. */
  async refresh(): Promise<void> {
    await this.#reading?.catch(() => undefined);
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    await this.#reading;
  }

  /** As {@link refresh}, for a worker that starts. @throws CONFIG_INVALID when a set that is active does not hold here */
  async begin(files: readonly PolicyFile[], by: string): Promise<void> {
    await this.push(files, this.#files.engine.digest, 'worker', by);
    await this.refresh();
    for (const [scope, engine] of this.#active) {
      if (!(engine instanceof Refusing) || scope.startsWith('shadow')) continue;
      throw new ActGuardError(
        'CONFIG_INVALID',
        `the policies that are active (${scope}) cannot be used here: ${engine.why}`,
        {
          hint: 'activate a set that fits these tools from a worker that has them, or start this one with the tools it was made for',
        },
      );
    }
  }

  /** Stores a set under its digest. */
  async push(files: readonly PolicyFile[], digest: string, source: 'push' | 'worker', by: string): Promise<string> {
    const [row] = await this.#deps.db.query<{ r: string }>('select actguard.push_policies($1::jsonb) as r', [
      pgJson({ digest, files, source, by, max: MAX_POLICY_SETS, entries: [pushedEntry(files, digest, source, by)] }),
    ]);
    return row?.r ?? '';
  }

  /** A set of the database (null: the worker's files), checked against this deployment's tools. @throws CONFIG_INVALID, NOT_FOUND */
  async load(digest: string | null): Promise<StoredSet> {
    if (digest === null || digest === this.#files.engine.digest) return this.#files;
    const known = this.#sets.get(digest);
    if (known) return known;
    const [row] = await this.#deps.db.query<{ s: { files: PolicyFile[] } | null }>(
      'select actguard.read_policies($1) as s',
      [digest],
    );
    if (!row?.s) throw new ActGuardError('NOT_FOUND', `no policy set \`${digest}\``, { hint: 'push it first' });
    const set = this.#check(row.s.files);
    if (set.engine.digest !== digest) {
      throw new ActGuardError(
        'CONFIG_INVALID',
        `the texts of the policy set \`${digest}\` were changed in the database`,
      );
    }
    const [oldest] = this.#sets.keys();
    if (this.#sets.size >= MAX_LOADED_POLICY_SETS && oldest !== undefined) this.#sets.delete(oldest);
    this.#sets.set(digest, set);
    return set;
  }

  #check(files: readonly PolicyFile[]): StoredSet {
    const checked = checkPolicies({ files, ...this.#world });
    if ('problems' in checked) {
      const first = checked.problems
        .slice(0, 3)
        .map(({ where, problem }) => `${where}: ${problem.split('\n', 1)[0] ?? ''}`);
      throw new ActGuardError('CONFIG_INVALID', `the policies do not fit the tools: ${first.join('; ')}`, {
        problems: checked.problems,
      });
    }
    return { checked, engine: policyEngine(checked) };
  }

  async #read(): Promise<void> {
    const [row] = await this.#deps.db.query<{ s: { epoch: number; active: Active[] } }>(
      'select actguard.policy_state() as s',
    );
    if (!row) throw new Error('the active policies could not be read');
    const active = new Map<string, PolicyEngine>();
    for (const one of row.s.active) active.set(`${one.role} ${one.tenant}`, await this.#engineOf(one));
    this.#active = active;
    this.#epoch = row.s.epoch;
  }

  async #engineOf({ tenant, role, digest, evidence }: Active): Promise<PolicyEngine> {
    try {
      const verified = verifyActivation(this.#deps, { tenant, role, digest }, evidence);
      if (verified.kind === 'invalid')
        throw new ActGuardError('FORBIDDEN', `its activation does not hold: ${verified.reason}`);
      const { engine } = await this.load(digest);
      return Object.assign(Object.create(engine) as PolicyEngine, { activated: true as const });
    } catch (error) {
      if (!isActGuardError(error) || error.code === 'BACKEND_UNAVAILABLE') throw error;
      this.#deps.log('error', 'a policy set cannot be used: every call it would decide is denied', {
        tenant,
        role,
        policy: digest,
        reason: error.message,
      });
      return new Refusing(digest, error.message);
    }
  }
}

/** Stands for a set that cannot be used: denies everything. */
class Refusing implements PolicyEngine {
  readonly activated = true;
  readonly digest: string;
  readonly why: string;

  constructor(digest: string, why: string) {
    this.digest = digest;
    this.why = why;
  }

  decide(): ReturnType<PolicyEngine['decide']> {
    const hint = `the active policies cannot be used: ${this.why}`;
    return { kind: 'deny', code: 'POLICY_ERROR', reasons: [], hint, request: {} };
  }

  gate(): undefined {
    return undefined;
  }
}

/** The entry about a set that was stored. */
export function pushedEntry(
  files: readonly PolicyFile[],
  digest: string,
  source: 'push' | 'worker',
  by: string,
): EntryRow {
  return makeEntry({
    kind: 'policy.pushed',
    tenant: EVERY_TENANT,
    run: null,
    key: `policies:pushed:${digest}`,
    atMs: Date.now(),
    data: { policy: digest, source, by, files: files.map(({ name }) => name) },
  });
}
