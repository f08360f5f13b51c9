/**
 * What cost more than its worst case: the truth is settled, and nothing more of it begins until a person has looked. A
 * declared maximum, or a model's bytes as tokens, was wrong: every further reservation would be wrong, too.
 */
import { sha256Hex } from '../governance/digest.ts';
import { makeEntry } from '../governance/entry.ts';
import { formatMicros } from '../governance/money.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import type { Prepared } from './prepared.ts';

const BY = 'actguard';

/** Freezes a tool in its tenant, before its outcome is written. Answers what people are told. @throws BACKEND_UNAVAILABLE */
export function freezeOverrun(deps: Deps, { tool, grant, claim }: Prepared, spentMicros: number): Promise<string[]> {
  const reason = overrunReason(spentMicros, claim.reserved.usdMicros);
  const where = { tenant: grant.principal.tenant, scope: 'tool', value: tool.name } as const;
  return freeze(deps, where, reason, claim);
}

/** Why a tool is frozen that cost more than it may. Money in micro-dollars. */
export function overrunReason(spentMicros: number, mostMicros: number): string {
  return `cost ${formatMicros(spentMicros)}, above its declared maximum of ${formatMicros(mostMicros)}`;
}

/** Freezes a model in its tenant, before the outcome is written. @throws BACKEND_UNAVAILABLE */
export function freezeModel(
  deps: Deps,
  model: string,
  call: { readonly tenant: string; readonly run: string; readonly call: string },
): Promise<string[]> {
  const reason = 'a call used more than its worst case: its price or its count of tokens is not what is known of it';
  return freeze(deps, { tenant: call.tenant, scope: 'model', value: model }, reason, call);
}

async function freeze(
  deps: Deps,
  where: { readonly tenant: string; readonly scope: 'tool' | 'model'; readonly value: string },
  reason: string,
  { run, call }: { readonly run: string; readonly call: string },
): Promise<string[]> {
  const entry = makeEntry({
    kind: 'freeze.set',
    tenant: where.tenant,
    run: null,
    key: `overrun:${sha256Hex(JSON.stringify([run, call]))}`,
    atMs: Date.now(),
    data: { scope: where.scope, value: where.value, by: BY, reason, run, call },
  });
  deps.log('error', `${where.scope} ${where.value} is frozen: ${reason}`, { run, call });
  await deps.db.query('select actguard.set_freeze($1::jsonb)', [
    pgJson({ ...where, by: BY, reason, signed: true, entries: [entry] }),
  ]);
  const thaw = `actguard thaw ${where.scope}:${where.value} --tenant ${where.tenant} --reason "..."`;
  return [`${where.scope} ${where.value} is frozen in ${where.tenant}: ${reason}. Mend it, then: ${thaw}`];
}
