/** What an outcome adds to what its run has seen, and which of its facts rest on a stranger's words (guards.md FA3). */
import type { Fact } from '../governance/call.ts';
import type { JsonObject } from '../governance/json.ts';
import type { Origin } from '../governance/provenance.ts';
import { isShaky } from '../governance/provenance-rows.ts';
import type { CallError } from '../governance/errors.ts';
import type { ClaimAnswer } from './claim.ts';
import type { Verdict } from './judge.ts';
import { pgJson } from './pg-json.ts';
import type { CallShared, Prepared } from './prepared.ts';
import { provenanceOf, rowsOfOutcome, worthOf } from './provenance.ts';
import type { CallToolInput } from './types.ts';

/** Codes of failures whose text somebody outside may have worded. */
const FOREIGN_TEXT: readonly string[] = ['TOOL_FAILED', 'OUTPUT_INVALID'];

/** Rows and facts of an outcome. @throws BACKEND_UNAVAILABLE */
export async function outcomeProvenance(shared: CallShared, prepared: Prepared, verdict: Verdict): Promise<Traced> {
  const { tool, grant, args, claim } = prepared;
  // a later attempt has not judged its arguments: what was seen meanwhile can only make them worse
  const { lookups } =
    prepared.provenance ?? (await provenanceOf(shared, grant, claim.run, tool, args, factsOf(prepared)));
  return tracedOutcome({ grant, run: claim.run, tool, args }, verdict, lookups);
}

/** What an outcome leaves: rows for `actguard.note_provenance`, and its facts with the untrusted ones marked. */
export interface Traced {
  readonly rows: readonly JsonObject[];
  readonly facts: readonly Fact[];
}

/** The same of a call whose lookups are known. */
export function tracedOutcome(
  { grant, run, tool, args }: { readonly run: string } & Pick<Prepared, 'grant' | 'tool' | 'args'>,
  verdict: Pick<Verdict, 'facts' | 'result'>,
  lookups: Origin,
): Traced {
  const worth = worthOf(tool);
  const facts = verdict.facts.map((fact): Fact =>
    isShaky(worth, fact.kind, lookups) ? { ...fact, untrusted: true } : fact,
  );
  const { result } = verdict;
  const error = result?.kind === 'failed' ? (result.error as unknown as CallError | undefined) : undefined;
  const shown = {
    ...(result?.kind === 'done' ? { output: result.output ?? null, facts } : {}),
    ...(error && FOREIGN_TEXT.includes(error.code) ? { error: error.message } : {}),
  };
  return { rows: rowsOfOutcome(grant, run, tool, args, shown, lookups), facts };
}

function factsOf({ frame }: Prepared): CallToolInput['facts'] {
  return (frame.input as CallToolInput).facts;
}

/** The first result of another run's call is seen by this run too. @throws BACKEND_UNAVAILABLE */
export async function noteRepeated(
  shared: CallShared,
  prepared: Prepared,
  answer: Extract<ClaimAnswer, { kind: 'duplicate' }>,
): Promise<void> {
  const { tool, grant, claim, provenance } = prepared;
  if (answer.run === claim.run || !answer.result) return;
  const { kind, output = null, error } = answer.result;
  const shown = kind === 'done' ? { output } : { error: (error as unknown as CallError).message };
  const rows = rowsOfOutcome(grant, claim.run, tool, null, shown, provenance?.lookups ?? 'untrusted');
  await shared.deps.db.query('select actguard.note_provenance($1, $2, $3::jsonb)', [
    claim.run,
    claim.call,
    pgJson(rows),
  ]);
}
