/** A run's workflow history and its entries have to tell of the same calls. */

/** A call as the workflow's history has it. */
export interface HistoryCall {
  readonly call: string;
  /** Its activity came back with an outcome that is never without an entry. */
  readonly recorded: boolean;
}

/** What of a run's calls one side tells and the other does not. */
export interface HistoryDifference {
  /** The workflow got an outcome; the ledger knows nothing of the call. */
  readonly notInLedger: readonly string[];
  /** The ledger says that it started; the workflow never asked for it. */
  readonly notInHistory: readonly string[];
}

/** Compares both ways. */
export function compareHistory(
  history: readonly HistoryCall[],
  ledger: readonly { readonly call: string; readonly started: boolean }[],
): HistoryDifference {
  const asked = new Set(history.map(({ call }) => call));
  const told = new Set(ledger.map(({ call }) => call));
  const unique = (calls: string[]): string[] => [...new Set(calls)].sort();
  return {
    notInLedger: unique(history.filter((h) => h.recorded && !told.has(h.call)).map((h) => h.call)),
    notInHistory: unique(ledger.filter((l) => l.started && !asked.has(l.call)).map((l) => l.call)),
  };
}
