/** `npm run bench`: measures, compares with a baseline of the same run, asserts nothing. */
import { benchSpine } from './spine.ts';

const USAGE = `npm run bench -- [spine] [--output json]

  spine   what governing a call costs beside a bare activity (default)
`;
const BENCHES: { readonly [name: string]: () => Promise<object> } = { spine: benchSpine };

const words = process.argv.slice(2);
const json = words.includes('json') || words.includes('--json');
const name = words.find((w) => !w.startsWith('-') && w !== 'json') ?? 'spine';
const bench = BENCHES[name];
if (!bench || words.includes('--help')) {
  process.stderr.write(USAGE);
  process.exit(bench ? 0 : 3);
}
const result = await bench();
if (!json) for (const [key, value] of Object.entries(result)) console.log(`${key.padEnd(24)} ${String(value)}`);
else console.log(JSON.stringify(result));
process.exit(0);
