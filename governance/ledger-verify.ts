/**
 * Verifying an export offline, line by line: the tree is computed again from what is there and compared with the signed
 * checkpoint. Memory does not grow with the file.
 */
import { type OpenedCheckpoint, openCheckpoint } from './checkpoint.ts';
import { checkCompleteness } from './completeness.ts';
import { rootOfKey } from './bundle.ts';
import { checkErasures } from './erasure.ts';
import { type CommandTrust, erasureRecordProblem } from './erasure-record.ts';
import type { JsonObject } from './json.ts';
import { checkBudgets } from './ledger-budget.ts';
import { type ExportHead, checkContent, leafBytes, parseExportLeaf } from './ledger-export.ts';
import { NO_PEAKS, type Peaks, appendLeaves, leafHash, rootOf, sameBytes } from './merkle.ts';
import type { NoteKey, VerifyBytes } from './note.ts';

/** What the verifier of a file has in hand besides it. */
export interface Evidence {
  /** The log's keys; several while a key rotates. All carry the log's name. */
  readonly keys: readonly NoteKey[];
  /** A witness whose signature the checkpoint has to carry. */
  readonly witness: NoteKey | null;
  /** A checkpoint kept from another time, signed note; the file has to hold at least what that was over. */
  readonly checkpoint: string | null;
  /** The witness has to have seen the file's checkpoint at or after this, seconds since the epoch. */
  readonly notBeforeSeconds?: number;
  readonly verify: VerifyBytes;
  /** Whose commands to erase count. */
  readonly commands: CommandTrust;
}

/** How fresh the file is known to be. */
export type Freshness =
  | { readonly kind: 'unwitnessed' }
  /** A witness saw this checkpoint then; nothing after it is claimed. */
  | { readonly kind: 'witnessed'; readonly by: string; readonly atSeconds: number }
  /** The file holds all that the kept checkpoint was over. */
  | { readonly kind: 'checkpoint'; readonly size: number };

/** The verdict about a file. */
export interface ExportVerdict {
  readonly integrity: 'valid' | 'invalid';
  /** What is wrong, at most MAX_NAMED of them, with place, run and call where they are known. */
  readonly problems: readonly string[];
  readonly origin: string;
  readonly size: number;
  /** Entries in full; the others are bare hashes. */
  readonly entries: number;
  /** Entries whose content was erased on record: valid, since an entry only commits to it. */
  readonly erased: number;
  /** Keys that sealed content and are gone, with the entries that cannot be read for want of each: valid, too. */
  readonly unreadable: { readonly [key: string]: number };
  /** Whether what the file holds in full lacks something that it says was there; of other tenants nothing is known. */
  readonly completeness: 'complete' | 'incomplete';
  /** What is missing, by run and call. */
  readonly missing: readonly string[];
  readonly freshness: Freshness;
}

const MAX_NAMED = 20;

/** A verification under way. */
export interface ExportCheck {
  /** One more line. */
  line(text: string): void;
  end(): ExportVerdict;
}

/** Begins with the first line's content. Memory grows with runs that are open and with content that is gone, not with the file. */
export function checkExport(head: ExportHead, evidence: Evidence): ExportCheck {
  const problems: string[] = [];
  const say = (problem: string): void => {
    if (problems.length < MAX_NAMED) problems.push(problem);
  };
  const { keys, verify } = evidence;
  const origin = keys[0]?.name ?? '';
  const all = evidence.witness === null ? keys : [...keys, evidence.witness];
  const opened = openCheckpoint(head.checkpoint, origin, all, verify);
  if (opened.kind === 'invalid') say(`the checkpoint: ${opened.reason}`);
  else if (head.size !== opened.value.checkpoint.size) say('the file names another size than its checkpoint');
  if (head.origin !== origin) say(`the file is of the log \`${head.origin.slice(0, 100)}\`, the key of \`${origin}\``);
  const signed = opened.kind === 'ok' ? opened.value : null;
  const kept = keptCheckpoint(evidence, origin, say);
  let peaks: Peaks = NO_PEAKS;
  let entries = 0;
  const completeness = checkCompleteness();
  const erasures = checkErasures((entry) => erasureRecordProblem(entry, evidence.commands, rootOfKey));
  const unreadable = new Map<string, number>();
  const budgets = checkBudgets();
  let broken = false; // after a place that is not in order nothing can be said about the next one
  const compareKept = (): void => {
    if (kept !== null && kept.size === peaks.size && !sameBytes(kept.root, rootOf(peaks))) {
      say(`the first ${kept.size} entries are not those of the checkpoint that was kept`);
    }
  };
  compareKept();
  return {
    line(text) {
      if (broken) return;
      const parsed = parseExportLeaf(text);
      const at = peaks.size;
      if (parsed.kind === 'invalid' || parsed.value.index !== at) {
        broken = true;
        return say(
          `line ${at + 2}: ${parsed.kind === 'invalid' ? parsed.reason : orderProblem(parsed.value.index, at)}`,
        );
      }
      const leaf = parsed.value;
      if ('body' in leaf) {
        entries += 1;
        const entry = parseBody(leaf.body);
        if (entry === null) say(`entry ${at}: its bytes are no entry`);
        else {
          const verdict = head.contents ? checkContent(entry, leaf.content) : 'whole';
          if (typeof verdict === 'object' && 'unreadable' in verdict) countKey(unreadable, verdict.unreadable);
          else if (typeof verdict === 'object')
            say(`${placeOf(entry, at)}: \`${verdict.changed}\` is not what was recorded`);
          erasures.entry(entry, verdict === 'erased', placeOf(entry, at));
          completeness.entry(entry);
          budgets.entry(entry);
        }
      }
      peaks = appendLeaves(peaks, ['body' in leaf ? leafHash(leafBytes(leaf.body)) : leaf.hash]).peaks;
      compareKept();
    },
    end() {
      if (!broken && signed !== null) compareRoot(signed, peaks, say);
      if (kept !== null && kept.size > peaks.size) {
        say(
          `the checkpoint that was kept is over ${kept.size} entries, the file holds ${peaks.size}: the end is cut off`,
        );
      }
      const freshness = freshnessOf(evidence, signed, kept?.size ?? null, say);
      const integrity = problems.length === 0 ? 'valid' : 'invalid';
      const { recorded, unrecorded } = erasures.end();
      const missing = [...completeness.end().missing, ...budgets.end(), ...unrecorded].slice(0, MAX_NAMED);
      const complete = missing.length === 0 ? 'complete' : 'incomplete';
      const counts = { size: peaks.size, entries, erased: recorded, unreadable: Object.fromEntries(unreadable) };
      return { integrity, problems, origin, ...counts, completeness: complete, missing, freshness };
    },
  };
}

/** One more entry that a key would open. */
export function countKey(keys: Map<string, number>, key: string): void {
  keys.set(key, (keys.get(key) ?? 0) + 1);
}

/** How an entry is named to people: run and call where it has them. */
export function placeOf(entry: JsonObject, index: number): string {
  const word = (value: unknown): string => String(value).slice(0, 100);
  const { kind, run, call } = entry;
  const where = run === undefined ? '' : ` of run ${word(run)}${call === undefined ? '' : `, call ${word(call)}`}`;
  return `entry ${index} (${word(kind)}${where})`;
}

function compareRoot({ checkpoint }: OpenedCheckpoint, peaks: Peaks, say: (problem: string) => void): void {
  if (peaks.size < checkpoint.size) say(`the file holds ${peaks.size} of ${checkpoint.size} entries: it is cut short`);
  else if (peaks.size > checkpoint.size)
    say(`the file holds ${peaks.size - checkpoint.size} entries that were never sealed`);
  else if (!sameBytes(rootOf(peaks), checkpoint.root)) {
    say('an entry was changed, swapped, removed or added: the tree is not the one that was signed');
  }
}

function keptCheckpoint(
  { checkpoint, keys, verify }: Evidence,
  origin: string,
  say: (problem: string) => void,
): OpenedCheckpoint['checkpoint'] | null {
  if (checkpoint === null) return null;
  const opened = openCheckpoint(checkpoint, origin, keys, verify);
  if (opened.kind === 'ok') return opened.value.checkpoint;
  say(`the checkpoint that was kept: ${opened.reason}`);
  return null;
}

function freshnessOf(
  { witness, notBeforeSeconds }: Evidence,
  signed: OpenedCheckpoint | null,
  keptSize: number | null,
  say: (problem: string) => void,
): Freshness {
  if (witness !== null) {
    const cosigned = signed?.signatures.find(({ key }) => key === witness);
    const seenAt = cosigned?.atSeconds ?? 0;
    if (cosigned && notBeforeSeconds !== undefined && seenAt < notBeforeSeconds) {
      say(
        `the witness saw this checkpoint last at ${new Date(seenAt * 1000).toISOString()}: the file is older than asked for`,
      );
    }
    if (cosigned) return { kind: 'witnessed', by: witness.name, atSeconds: seenAt };
    say(`the witness ${witness.name} did not sign the checkpoint`);
  }
  return keptSize === null ? { kind: 'unwitnessed' } : { kind: 'checkpoint', size: keptSize };
}

function orderProblem(index: number, expected: number): string {
  return index < expected ? `entry ${index} stands there again` : `entry ${expected} is missing`;
}

function parseBody(body: string): JsonObject | null {
  try {
    const value = JSON.parse(body) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch {
    return null;
  }
}
