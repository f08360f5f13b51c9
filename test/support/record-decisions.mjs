/**
 * Writes down every decision that Cedar makes in a test run, whichever process makes it, so that a second implementation
 * can make it again when the run ends (cedar-go.ts). Test files get it from a transform of vitest (vitest.config.ts),
 * programs that they start from `--import`, which only looks at one module's name until that module is loaded.
 */
import { appendFileSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { join } from 'node:path';

const folder = process.env.ACTGUARD_TEST_DECISIONS;

/** @param CedarSet the class of activities/policy-cedar.ts, of whichever copy */
export function record(CedarSet) {
  if (!folder) return;
  const file = join(folder, `${process.pid}.jsonl`);
  const sets = new Map();
  const decide = CedarSet.prototype.decide;
  CedarSet.prototype.decide = function (request) {
    const answer = decide.call(this, request);
    if (!sets.has(this)) {
      sets.set(this, sets.size);
      appendFileSync(file, `${JSON.stringify({ set: sets.get(this), policies: this.policies })}\n`);
    }
    appendFileSync(file, `${JSON.stringify({ set: sets.get(this), request, answer })}\n`);
    return answer;
  };
}

/** The module that decides, in this checkout or in a packed copy. */
const DECIDES = /\/activities\/policy-cedar\.[jt]s$/;

/** What stands at the end of that module in a test run. */
export function recorded(code, id) {
  if (!DECIDES.test(id)) return undefined;
  return `${code}\nimport { record as recordDecisions } from ${JSON.stringify(import.meta.url)};\nrecordDecisions(CedarSet);\n`;
}

if (folder && nodeModule.registerHooks) {
  nodeModule.registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!DECIDES.test(url) || !loaded.source) return loaded;
      return { ...loaded, source: recorded(String(loaded.source), url) };
    },
  });
}
