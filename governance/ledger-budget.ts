/**
 * Whether budgets add up, judged from entries alone: at no entry of a run may what it has spent, and what it has reserved
 * for calls without an end, be above its limit; no call may cost more than was reserved for it, unless its entry says so.
 */
import type { JsonObject } from './json.ts';

type Unit = 'usdMicros' | 'tokens';
const UNITS: readonly Unit[] = ['usdMicros', 'tokens'];
type Amounts = { [U in Unit]: number };

interface RunBudget {
  readonly limit: Partial<Amounts>;
  readonly spent: Amounts;
  readonly held: Amounts;
  readonly calls: Map<string, Amounts>;
  above: boolean;
}

/** A judgement under way. */
export interface BudgetCheck {
  /** One more entry, in the order of the ledger. */
  entry(entry: JsonObject): void;
  /** What does not add up, by run and call. */
  end(): readonly string[];
}

const MAX_NAMED = 50;
const STARTS = new Set(['call.started', 'child.started']);
/** A call whose outcome is unknown holds what was reserved for it. */
const ENDS = new Set(['call.succeeded', 'call.failed', 'child.ended']);

/** Begins a judgement. Memory grows with runs and calls that are open. */
export function checkBudgets(): BudgetCheck {
  const runs = new Map<string, RunBudget>();
  const problems: string[] = [];
  const say = (problem: string): void => void (problems.length < MAX_NAMED && problems.push(problem));
  return {
    entry(entry) {
      const { run, kind } = entry;
      if (typeof run !== 'string' || typeof kind !== 'string') return;
      const data = (entry['data'] ?? {}) as JsonObject;
      if (kind === 'run.opened') runs.set(run, opened(data));
      if (kind === 'run.closed') runs.delete(run);
      const budget = runs.get(run);
      if (!budget) return;
      if (kind === 'budget.topped-up') for (const unit of UNITS) raise(budget, unit, amountOf(data['more'], unit));
      const call = entry['call'] ?? data['run']; // of a child, its run
      if (typeof call !== 'string') return;
      if (STARTS.has(kind) && !budget.calls.has(call)) start(budget, call, data);
      const reserved = budget.calls.get(call);
      if (ENDS.has(kind) && reserved) {
        budget.calls.delete(call);
        for (const unit of UNITS) {
          const spent = spentOf(data, unit) ?? reserved[unit];
          budget.held[unit] -= reserved[unit];
          budget.spent[unit] += spent;
          if (spent <= reserved[unit]) continue;
          budget.above = true; // said by the call's own entry: the run's limit is not its fault
          if (data['aboveMaximum'] !== true && data['aboveReservation'] !== true)
            say(`run ${run}: call ${call} cost ${spent} ${unit}, ${reserved[unit]} were reserved for it`);
        }
      }
      for (const unit of UNITS) {
        const [limit, used] = [budget.limit[unit], budget.spent[unit] + budget.held[unit]];
        if (limit === undefined || used <= limit || budget.above) continue;
        budget.above = true;
        say(`run ${run}: at call ${call} its budget does not add up: ${used} ${unit} of ${limit}`);
      }
    },
    end: () => problems,
  };
}

function opened(data: JsonObject): RunBudget {
  const limit: Partial<Amounts> = {};
  const given = (data['limit'] ?? {}) as JsonObject;
  for (const unit of UNITS) if (typeof given[unit] === 'number') limit[unit] = given[unit];
  const none = (): Amounts => ({ usdMicros: 0, tokens: 0 });
  return { limit, spent: none(), held: none(), calls: new Map(), above: false };
}

function raise(budget: RunBudget, unit: Unit, by: number): void {
  const before = budget.limit[unit];
  if (before !== undefined) budget.limit[unit] = before + by;
}

function start(budget: RunBudget, call: string, data: JsonObject): void {
  const reserved = { usdMicros: amountOf(data['reserved'], 'usdMicros'), tokens: amountOf(data['reserved'], 'tokens') };
  budget.calls.set(call, reserved);
  for (const unit of UNITS) budget.held[unit] += reserved[unit];
}

/** What a call cost in a unit; null: its entry does not say. */
function spentOf(data: JsonObject, unit: Unit): number | null {
  const micros = data['spentMicros'];
  if (typeof micros === 'number') return unit === 'usdMicros' ? micros : 0;
  return data['spent'] === undefined ? null : amountOf(data['spent'], unit);
}

function amountOf(value: unknown, unit: Unit): number {
  const amount = typeof value === 'object' && value !== null ? (value as JsonObject)[unit] : undefined;
  return typeof amount === 'number' ? amount : 0;
}
