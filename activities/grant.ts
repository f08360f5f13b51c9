/**
 * What a run was opened with. Principal, agent, tools and limits are read from Postgres, never from an activity's
 * input: a foreign workflow with invented facts is stopped here (trust.md, The line).
 */
import { ActGuardError } from '../governance/errors.ts';
import type { Limit, Principal } from '../governance/call.ts';
import type { JsonObject } from '../governance/json.ts';
import type { Database } from './deps.ts';

/** Grants of this many runs are kept in memory; they never change. */
const CACHED_GRANTS = 10_000;

export interface Grant {
  readonly v: 1;
  readonly principal: Principal;
  readonly mode: 'agent' | 'session' | 'workflow';
  readonly openedBy: string;
  readonly workflowId: string;
  readonly openedAtMs: number;
  readonly deadlineMs: number;
  readonly limit: Limit;
  /** Tool name -> digest of its manifest when the run was opened. */
  readonly tools: { readonly [name: string]: string };
  readonly input: string;
  /** Groups of the user when the run was opened: its roles in the directory. */
  readonly groups?: readonly string[];
  /** What the deployment knew of the user when the run was opened (`users` of the configuration). */
  readonly attributes?: JsonObject;
  /** 16 bytes, hex: hashes of what this run has seen are unlike those of another. */
  readonly salt?: string;
}

/** Reads and remembers grants. */
export class Grants {
  readonly #db: Database;
  readonly #known = new Map<string, Grant>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** @throws FORBIDDEN when the run has no grant or another workflow asks for it. */
  async of(run: string, workflowId: string): Promise<Grant> {
    const grant = this.#known.get(run) ?? (await this.#read(run));
    if (!grant || grant.workflowId !== workflowId) {
      throw new ActGuardError('FORBIDDEN', `run \`${run}\` was not opened by this workflow`, {
        details: { run },
        hint: 'start runs with `actguard run` or the client: they open their run first',
      });
    }
    return grant;
  }

  remember(run: string, grant: Grant): void {
    if (this.#known.size >= CACHED_GRANTS) {
      const [oldest] = this.#known.keys();
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    this.#known.set(run, grant);
  }

  async #read(run: string): Promise<Grant | null> {
    const [row] = await this.#db.query<{ g: { grant: Grant; workflowId: string; openedAtMs: number } | null }>(
      'select actguard.read_grant($1) as g',
      [run],
    );
    if (!row?.g) return null;
    const kept = this.#db.content.need('grant', row.g.grant.principal.tenant, row.g.grant);
    const grant = { ...kept, workflowId: row.g.workflowId, openedAtMs: row.g.openedAtMs };
    this.remember(run, grant);
    return grant;
  }
}
