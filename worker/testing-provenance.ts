/** What a run of a test has seen, in memory: the same judgement as a worker's, over the same rows. */
import type { Grant } from '../activities/grant.ts';
import type { Verdict } from '../activities/judge.ts';
import { tracedOutcome } from '../activities/outcome-provenance.ts';
import { provenanceOf, rowsOfOutcome, seenFrom } from '../activities/provenance.ts';
import type { Config, Tool } from '../define/types.ts';
import type { Fact, LiveFact, Principal } from '../governance/call.ts';
import type { JsonObject } from '../governance/json.ts';
import { isClean, type Provenance, type Seen } from '../governance/provenance.ts';

/** The provenance of one run's calls. */
export class TestProvenance {
  readonly #config: Config;
  readonly #grant: Grant;
  readonly #run: string;
  #seen: readonly Seen[] = [];

  constructor(config: Config, run: string, principal: Principal, input: string) {
    this.#config = config;
    this.#run = run;
    const opened = { openedBy: 'test', workflowId: run, openedAtMs: 0, deadlineMs: 0, limit: {}, tools: {} };
    this.#grant = { v: 1, mode: 'session', principal, input, salt: run, ...opened };
  }

  judge(tool: Tool, args: JsonObject, facts: readonly LiveFact[], nowMs: number): Promise<Provenance> {
    const shared = { deps: { config: this.#config }, seen: { of: () => Promise.resolve(this.#seen) } };
    return provenanceOf(shared, this.#grant, this.#run, tool, args, facts, nowMs);
  }

  /** The run has read this in an output of a tool that nobody vouches for. */
  read(text: string, tool: Tool): void {
    const rows = rowsOfOutcome(this.#grant, this.#run, tool, null, { output: text }, 'untrusted');
    this.#seen = [...this.#seen, ...seenFrom('read', rows)];
  }

  /** Keeps what the outcome showed; its facts, with those that rest on a stranger's words marked. */
  note(call: string, tool: Tool, args: JsonObject, verdict: Verdict, provenance: Provenance): readonly Fact[] {
    const traced = tracedOutcome({ grant: this.#grant, run: this.#run, tool, args }, verdict, provenance.lookups);
    // as actguard.note_provenance: the model's words are the user's only while nobody else can have worded them
    const own = isClean(this.#seen) && !this.#seen.some(({ level }) => level === 'internal');
    const rows = traced.rows.filter((row) => own || row['level'] !== 'user');
    this.#seen = [...this.#seen, ...seenFrom(call, rows)];
    return traced.facts;
  }
}
