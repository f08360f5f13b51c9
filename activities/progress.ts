/** What a long tool reports: it travels with heartbeats and stands in the Temporal UI, so it is scrubbed and bounded. */
import { checkPlainJson } from '../governance/canonical.ts';
import type { Json } from '../governance/json.ts';
import { MAX_PROGRESS_BYTES } from '../governance/limits.ts';
import type { SecretSet } from './scrub.ts';

/** The report, or a line that says why it is not shown. Never throws: a report ends no tool. */
export function boundedProgress(data: unknown, secrets: SecretSet): Json {
  const problem = checkPlainJson(data);
  if (problem !== null) return { progress: `not plain JSON: ${problem}` };
  const shown = secrets.json(data as Json);
  const bytes = Buffer.byteLength(JSON.stringify(shown));
  return bytes <= MAX_PROGRESS_BYTES ? shown : { progress: `${bytes} bytes: at most ${MAX_PROGRESS_BYTES} are shown` };
}
