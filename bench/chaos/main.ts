/**
 * `npm run chaos`: many runs against the example's payment service while workers are killed and stopped, answers dropped,
 * requests delayed, servers restarted, runs terminated and reset. At the end the service's own books decide.
 */
import { parseArgs } from 'node:util';
import { experiment } from './experiment.ts';

const USAGE = `npm run chaos -- [--calls 2000] [--faults 200] [--seed 1] [--workers 3] [--minutes 20] [--long-stops] [--output json]

  --long-stops: nothing but workers that are stopped for longer than the horizon, which no promise covers.
  Exit code 0 when nothing was done twice, lost, or recorded wrongly, the ledger's audit says valid and complete, no run is stuck, and all calls and
  faults were made; else 1.
`;
const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '2000' },
    faults: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '3' },
    minutes: { type: 'string', default: '20' },
    'long-stops': { type: 'boolean', default: false },
    output: { type: 'string', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});
const numbers = [values.calls, values.faults, values.seed, values.workers, values.minutes].map(Number);
const [calls = 0, faults = 0, seed = 0, workers = 0, minutes = 0] = numbers;
if (values.help || numbers.some((n) => !Number.isInteger(n) || n < 0) || calls < 1 || workers < 3) {
  process.stderr.write(USAGE);
  process.exit(values.help ? 0 : 3);
}
const report = await experiment({
  ...{ seed, calls, faults, workers, limitMs: minutes * 60_000 },
  longStops: values['long-stops'],
});
const { result } = report;
for (const line of report.wrong) process.stderr.write(`${line}\n`);
if (values.output === 'json') {
  process.stderr.write(`${JSON.stringify({ ...report, result: undefined, wrong: undefined })}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
} else {
  for (const [name, n] of Object.entries(report.table)) console.log(`${name.padEnd(32)} ${n}`);
  for (const [name, value] of Object.entries(result))
    console.log(`${name.padEnd(18)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
  console.log(
    `questions left for receivers that need no person ${report.questionsLeft}; a person answered ${report.humanAnswers}, ${report.humanNotNeeded} of them without need; ${report.seconds} s`,
  );
}
const { integrity, completeness, size, checkpoints } = report.audit;
process.stderr.write(`ledger audit: ${integrity}, ${completeness}; ${size} entries, ${checkpoints} checkpoints\n`);
const whole = integrity === 'valid' && completeness === 'complete';
const bad = result.duplicates + result.lost + result.unknownWrong + result.ledgerMismatches + result.stuckRuns;
const short = result.calls < calls || result.faults < faults;
if (short) process.stderr.write(`only ${result.calls} of ${calls} calls and ${result.faults} of ${faults} faults\n`);
process.exit(bad + report.questionsLeft === 0 && whole && !short ? 0 : 1);
