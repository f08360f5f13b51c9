/** What the janitor's workflow and its activities say to each other. Workflows import this file as types only. */

import type { Activities, NotifyInput } from './types.ts';

/** A question that is due, with how long asking may take. */
export interface DueQuestion {
  readonly run: string;
  readonly call: string;
  /** The tool's timeout. */
  readonly timeoutMs: number;
}

/** What one round has found and done. */
export interface SweepResult {
  readonly questions: readonly DueQuestion[];
  readonly lostClaims: number;
  readonly closedRuns: number;
  /** Ended runs that were compared with their histories. */
  readonly reconciledRuns: number;
  /** Thresholds that charging dead calls has passed: people are told. */
  readonly notices: readonly string[];
  /** Reminders and outcomes of asks; absent: none (rounds that were recorded before there were any). */
  readonly mails?: readonly NotifyInput[];
}

/** Every activity of the janitor. */
export interface JanitorActivities extends Pick<Activities, 'notify'> {
  sweep(input: { readonly v: 1 }): Promise<SweepResult>;
  askQuestion(input: {
    readonly v: 1;
    readonly run: string;
    readonly call: string;
  }): Promise<{ readonly known: boolean }>;
}
