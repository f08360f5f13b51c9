/** The words that a questioned value came from, for the person who is asked: the first output of the run that holds it. */
import type { AskedProvenance, AskedSource } from '../governance/approval.ts';
import { disguisesOf } from '../governance/disguise.ts';
import type { Json } from '../governance/json.ts';
import { leavesOf, type Leaf } from '../governance/leaves.ts';
import { HARMLESS, type Concern } from '../governance/provenance.ts';
import { gramsOf, holds, piecesOf, seedOf } from '../governance/taint.ts';
import { partsOf } from '../governance/targets.ts';
import type { StoredResult } from './claim.ts';
import type { Deps } from './deps.ts';
import type { Prepared } from './prepared.ts';

/** Letters of the words that are shown around a value. */
const MAX_SOURCE_CHARS = 300;
/** Concerns whose words are looked up: an ask has to be read. */
const MAX_SOURCES = 8;

interface Found {
  readonly call: string;
  readonly tool: string;
  readonly result: StoredResult | null;
}

/** The call's provenance with its sources. At most one round trip, and none where no output is at fault. */
export async function sourcesOf(deps: Deps, { claim, provenance = HARMLESS }: Prepared): Promise<AskedProvenance> {
  const concerns = provenance.concerns.slice(0, MAX_SOURCES);
  const calls = [...new Set(concerns.flatMap((concern) => concern.calls.slice(0, MAX_SOURCES)))];
  const found =
    calls.length === 0
      ? []
      : await deps.db.query<Found>('select * from actguard.outputs_of($1, $2::text[])', [claim.run, calls]);
  const read = found.map((row) => ({ ...row, result: deps.db.content.need('result', claim.tenant, row.result) }));
  return { judged: provenance, sources: concerns.map((concern) => sourceOf(concern, read)) };
}

function sourceOf({ argument, value, origin, about, calls }: Concern, found: readonly Found[]): AskedSource {
  const base = { argument, value, origin, about };
  for (const call of calls) {
    const row = found.find((one) => one.call === call);
    const leaf = row && leafWith(value, row.result);
    if (row && leaf) return { ...base, from: { call, tool: row.tool, field: leaf.path, text: excerpt(leaf, value) } };
  }
  // what we know is that it came from there; where in it, a longer look would have to say
  const [call] = calls;
  const row = found.find((one) => one.call === call);
  return { ...base, from: row ? { call: row.call, tool: row.tool, field: '', text: '' } : null };
}

/** The field that holds the value as words; else the one that is it. */
function leafWith(value: string, result: StoredResult | null): Leaf | null {
  const output = (result?.output ?? result?.error ?? null) as Json;
  const seed = seedOf('');
  const pieces = piecesOf(seed, [...disguisesOf(value), ...partsOf(value)]);
  const holding = leavesOf(null, output).filter((leaf) => {
    const grams = leaf.says === 'name' ? null : gramsOf(seed, [String(leaf.value)]);
    return grams !== null && holds(grams, pieces);
  });
  return holding.find((leaf) => String(leaf.value) !== value) ?? holding[0] ?? null;
}

function excerpt(leaf: Leaf, value: string): string {
  const text = String(leaf.value);
  if (text.length <= MAX_SOURCE_CHARS) return text.toWellFormed();
  const at = Math.max(0, text.toLowerCase().indexOf(value.toLowerCase()) - MAX_SOURCE_CHARS / 2);
  const cut = text.slice(at, at + MAX_SOURCE_CHARS).toWellFormed();
  return `${at > 0 ? '…' : ''}${cut}${at + MAX_SOURCE_CHARS < text.length ? '…' : ''}`;
}
