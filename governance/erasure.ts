/**
 * Erasing what lies beside entries: of a run, of one call, or of all runs of a user. Entries stay, and say who asked for
 * it. What was erased without such an entry is found, offline too.
 */
import type { JsonObject } from './json.ts';
import { parseName } from './id.ts';
import { type Parsed, parsing, refuse } from './strict.ts';

/** Whose content: within one tenant. */
export type Erasure =
  | { readonly scope: 'run'; readonly run: string }
  | { readonly scope: 'call'; readonly run: string; readonly call: string }
  | { readonly scope: 'user'; readonly user: string };

/** How it is written in a command: `erase:run:RUN`, `erase:call:RUN/CALL`, `erase:user:NAME`. */
export function erasureTarget(of: Erasure): string {
  switch (of.scope) {
    case 'run':
      return `erase:run:${of.run}`;
    case 'call':
      return `erase:call:${of.run}/${of.call}`;
    case 'user':
      return `erase:user:${of.user}`;
    default:
      return of satisfies never;
  }
}

/** Reads `run:RUN`, `call:RUN/CALL` or `user:NAME`, with or without `erase:` before it. */
export function parseErasure(text: unknown): Parsed<Erasure> {
  return parsing(() => {
    if (typeof text !== 'string') return refuse('what is erased is not text');
    const [, scope, rest = ''] = /^(?:erase:)?(run|call|user):(.+)$/s.exec(text) ?? [];
    if (scope === 'run') return { scope, run: parseName(rest, 'run') };
    if (scope === 'user') return { scope, user: parseName(rest, 'user') };
    const slash = rest.indexOf('/');
    if (scope === undefined || slash < 1) return refuse('what is erased is none of run:RUN, call:RUN/CALL, user:NAME');
    return {
      scope: 'call',
      run: parseName(rest.slice(0, slash), 'run'),
      call: parseName(rest.slice(slash + 1), 'call'),
    };
  });
}

/** Content that is gone, and whether an entry after it says that it was erased. */
export interface ErasureCheck {
  /** One more entry, in the ledger's order; `erased`: content that it commits to is not there. `place` names it. */
  entry(entry: JsonObject, erased: boolean, place: string): void;
  /** `recorded`: entries erased on record; `unrecorded`: what is wrong with the others and with records, at most MAX_NAMED. */
  end(): { readonly recorded: number; readonly unrecorded: readonly string[] };
}

interface Gone {
  readonly tenant: string;
  user: string | null;
  entries: { readonly call: string | null; readonly place: string }[];
}

const MAX_NAMED = 50;

/**
 * Begins. Memory grows with what is erased and not yet accounted for.
 *
 * @param problemOf what is wrong with a record; null: it counts (erasure-record.ts)
 */
export function checkErasures(problemOf: (entry: JsonObject) => string | null): ErasureCheck {
  const gone = new Map<string, Gone>();
  const forged: string[] = [];
  let recorded = 0;
  const account = (run: string, of: Gone, covers: (call: string | null) => boolean): void => {
    const left = of.entries.filter(({ call }) => !covers(call));
    recorded += of.entries.length - left.length;
    of.entries = left;
    if (left.length === 0) gone.delete(run);
  };
  return {
    entry(entry, erased, place) {
      const data = (entry['data'] ?? {}) as JsonObject;
      if (erased) {
        const [run, tenant] = [textOr(entry['run']) ?? '', textOr(entry['tenant']) ?? ''];
        const key = run === '' ? `${tenant}/` : run;
        const of = gone.get(key) ?? { tenant, user: null, entries: [] };
        gone.set(key, of);
        of.user ??= textOr(data['user']);
        of.entries.push({ call: textOr(entry['call']), place });
      }
      if (entry['kind'] !== 'ledger.erased') return;
      const problem = problemOf(entry);
      if (problem !== null) return void forged.push(`${place}: it says that content was erased, but ${problem}`);
      const parsed = parseErasure(data['target']);
      if (parsed.kind === 'invalid') return;
      const erasure = parsed.value;
      for (const [run, of] of [...gone]) {
        if (of.tenant !== entry['tenant']) continue;
        if (erasure.scope === 'user' ? of.user !== erasure.user : run !== erasure.run) continue;
        account(run, of, (call) => erasure.scope !== 'call' || call === erasure.call);
      }
    },
    end() {
      const unrecorded = [...gone.values()].flatMap((of) =>
        of.entries.map(({ place }) => `${place}: its content was erased without a record`),
      );
      return { recorded, unrecorded: [...forged, ...unrecorded].slice(0, MAX_NAMED) };
    },
  };
}

function textOr(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
