/** `npm run bench`: measures, compares with a baseline of the same run, asserts nothing. */
import { benchBudget } from './budget.ts';
import { benchCredentials } from './credentials.ts';
import { benchLedger } from './ledger.ts';
import { benchPolicy } from './policy.ts';
import { benchSession } from './session.ts';
import { benchSpine } from './spine.ts';

const USAGE = `npm run bench -- [spine|session|budget|ledger|policy|credentials] [--kill] [--output json]

  spine    what governing a call costs beside a bare activity (default)
  session  what a session's call and a reservation cost, in milliseconds and events
  budget   whether a tenant's budget holds under a thousand runs; --kill: workers die and runs are terminated meanwhile
  ledger   writing, sealing, proving and verifying entries beside bare inserts of the same bytes
  policy   what a decision and its guards cost
  credentials  scrubbing a megabyte; the governed rate with payloads in clear and encrypted
`;
const BENCHES: { readonly [name: string]: (words: readonly string[]) => Promise<object> } = {
  spine: benchSpine,
  session: benchSession,
  budget: benchBudget,
  ledger: benchLedger,
  policy: benchPolicy,
  credentials: benchCredentials,
};

const words = process.argv.slice(2);
const json = words.includes('json') || words.includes('--json');
const name = words.find((w) => !w.startsWith('-') && w !== 'json') ?? 'spine';
const bench = BENCHES[name];
if (!bench || words.includes('--help')) {
  process.stderr.write(USAGE);
  process.exit(bench ? 0 : 3);
}
const result = await bench(words);
if (!json) for (const [key, value] of Object.entries(result)) console.log(`${key.padEnd(24)} ${String(value)}`);
else console.log(JSON.stringify(result));
process.exit(0);
