/** Opens a run: stores the grant, answers what the workflow has to know. The first activity of every run. */
import { summarize } from '../governance/tool.ts';
import { defineAgent } from '../define/agent.ts';
import type { Agent } from '../define/types.ts';
import { aboveCeiling } from '../governance/budget.ts';
import type { Limit } from '../governance/call.ts';
import { deny, frozen, quote } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { makeEntry } from '../governance/entry.ts';
import type { Denial } from '../governance/errors.ts';
import { BUDGET_AGENT } from '../governance/id.ts';
import type { Json } from '../governance/json.ts';
import { DEFAULT_DEADLINE_MS, MAX_INPUT_BYTES, MAX_USER_GROUPS } from '../governance/limits.ts';
import { accountSeeds } from './accounts.ts';
import { callerOf, type Admitted } from './caller.ts';
import { sealEntries } from './content.ts';
import { openedModel } from './call-model.ts';
import { committed, newSalt } from './call-entries.ts';
import { nowOf } from './clock.ts';
import type { CallShared } from './prepared.ts';
import type { Grant } from './grant.ts';
import { rowsOfRequest } from './provenance.ts';
import { pgJson } from './pg-json.ts';
import type { OpenedModel, OpenRunInput, OpenRunResult } from './types.ts';
import { attributesOf } from './user-attributes.ts';

export interface OpenInfo {
  readonly workflowId: string;
  readonly temporalRun: string;
}

/** Refusals are values: unknown agent, budget above the configured one, unknown price, a freeze. */
export async function openRun(shared: CallShared, input: OpenRunInput, info: OpenInfo): Promise<OpenRunResult> {
  const { deps } = shared;
  const agent = deps.config.agents.find((a) => a.name === input.principal.agent) ?? builtIn(input);
  if (!agent) {
    const known = deps.config.agents.map((a) => a.name).join(', ');
    return denied(
      deny('NOT_FOUND', `there is no agent ${quote(input.principal.agent)}`, `use one of: ${known}`, {
        agent: input.principal.agent,
      }),
    );
  }
  const caller = await callerOf(deps, input);
  if (caller.kind === 'refused') return denied(caller.denial);
  const problem = checkRequest(agent, input, deps.config.runLimit);
  if (problem) return denied(problem);
  const known = await attributesOf(deps.config.users, input.principal);
  if ('code' in known) return denied(known);
  const nowMs = nowOf(deps);
  const limit: Limit = { ...deps.config.runLimit, ...(input.budget ?? {}) };
  let model: OpenedModel | null = null;
  if (input.mode === 'agent') {
    model = await openedModel(shared, agent, input);
    if (model.price === null) {
      return denied(
        deny(
          'PRICE_UNKNOWN',
          `no price is known for model ${quote(model.name)}`,
          'add it to `prices` in the configuration',
          { model: model.name },
        ),
      );
    }
  }
  const grant: Omit<Grant, 'workflowId' | 'openedAtMs'> = {
    v: 1,
    principal: input.principal,
    mode: input.mode,
    openedBy: caller.openedBy,
    deadlineMs: input.deadlineMs ?? nowMs + DEFAULT_DEADLINE_MS,
    limit,
    tools: Object.fromEntries(agent.tools.map((t) => [t.name, t.manifest.digest])),
    input: input.input,
    ...known,
    salt: newSalt(),
  };
  const stored = await store(shared, input, info, grant, caller, nowMs);
  if (stored.kind === 'refused') return denied(stored.denial);
  // a second attempt: what the first one stored counts, its salt among it
  if (stored.kind === 'opened') {
    const { groups } = stored;
    shared.grants.remember(input.run, { ...grant, groups, workflowId: info.workflowId, openedAtMs: nowMs });
  }
  return {
    kind: 'opened',
    tools: agent.tools.map((t) => summarize(t.manifest)),
    limit,
    deadlineMs: grant.deadlineMs,
    model,
    openedAtMs: nowMs,
  };
}

/** A budget guard needs no agent of the configuration: it has no tools. */
function builtIn({ mode, principal }: OpenRunInput): Agent | undefined {
  if (mode !== 'session' || principal.agent !== BUDGET_AGENT) return undefined;
  return defineAgent({ name: BUDGET_AGENT, tools: [] });
}

function checkRequest(agent: Agent, input: OpenRunInput, ceiling: Limit): Denial | null {
  if (input.mode === 'agent' && !agent.model) {
    return deny(
      'CONFIG_INVALID',
      `agent ${quote(agent.name)} has no model`,
      'give it a `model`, or use it in a session',
      { agent: agent.name },
    );
  }
  if (Buffer.byteLength(input.input) > MAX_INPUT_BYTES) {
    return deny('LIMIT_EXCEEDED', `the request is larger than ${MAX_INPUT_BYTES} bytes`, 'shorten it', {
      limitBytes: MAX_INPUT_BYTES,
    });
  }
  return ceilingDenial(input.budget, ceiling);
}

/** Why a run may not have the budget that it asks for; null: it may. */
export function ceilingDenial(budget: Limit | null | undefined, ceiling: Limit): Denial | null {
  const above = aboveCeiling(budget, ceiling);
  if (!above) return null;
  const { unit, asked, most } = above;
  return deny(
    'BUDGET_EXCEEDED',
    `the run asks for a budget of ${asked} ${unit}; the configuration allows ${most}`,
    `ask for less, or raise budgets.run in the configuration`,
    { scope: 'run', unit, limit: most, needed: asked },
  );
}

/** What came of opening; `again`: it is open already, by this Temporal run. */
type Stored =
  | { readonly kind: 'opened'; readonly groups: readonly string[] }
  | { readonly kind: 'again' }
  | { readonly kind: 'refused'; readonly denial: Denial };

/** One round trip. */
async function store(
  shared: CallShared,
  input: OpenRunInput,
  info: OpenInfo,
  grant: Omit<Grant, 'workflowId' | 'openedAtMs'>,
  caller: Admitted,
  nowMs: number,
): Promise<Stored> {
  const { deps } = shared;
  const { tenant, user, agent } = input.principal;
  const asked = committed('input', input.input);
  const entry = makeEntry({
    kind: 'run.opened',
    tenant,
    run: input.run,
    key: 'opened',
    atMs: nowMs,
    data: {
      user,
      agent,
      mode: input.mode,
      openedBy: grant.openedBy,
      ...(caller.keyId === null ? {} : { callerKey: caller.keyId, openingSha256: digestOf(input.opening ?? null) }),
      ...(deps.dev ? { dev: true } : {}),
      limit: grant.limit as unknown as Json,
      tools: digestOf(grant.tools),
      policy: deps.policy(tenant).digest,
      deadline: new Date(grant.deadlineMs).toISOString(),
      ...asked.data,
    },
    content: asked.content,
  });
  const [row] = await deps.db.query<{
    answer: string;
    groups: readonly string[];
    freeze: { scope: string; value: string; by: string; reason: string } | null;
  }>(
    `select actguard.freeze_of($2, $3, $4, $5, null) as freeze, actguard.groups_of($2, $4, ${MAX_USER_GROUPS}) as groups, actguard.open_run($1::jsonb) as answer`,
    [
      pgJson({
        run: input.run,
        tenant,
        user,
        agent,
        mode: input.mode,
        workflowId: info.workflowId,
        temporalRun: info.temporalRun,
        grant: deps.db.content.seal('grant', tenant, grant),
        maxGroups: MAX_USER_GROUPS,
        provenance: rowsOfRequest(grant, input.run),
        accounts: accountSeeds(deps.config.accounts, input.principal),
        entries: sealEntries(deps.db.content, [entry]),
      }),
      tenant,
      input.run,
      user,
      agent,
    ],
  );
  if (row?.answer === 'taken') {
    const reason = `run ${quote(input.run)} was opened before`;
    return {
      kind: 'refused',
      denial: deny('CONFLICT', reason, 'start a new run; a run id is used once', { run: input.run }),
    };
  }
  if (row?.freeze) return { kind: 'refused', denial: frozen(row.freeze) };
  return row?.answer === 'again' ? { kind: 'again' } : { kind: 'opened', groups: row?.groups ?? [] };
}

function denied(denial: Denial): OpenRunResult {
  return { kind: 'denied', denial };
}
