/** Asks as they come and go, for terminals and scripts that wait for them. */
import { setTimeout } from 'node:timers/promises';
import type { ContentDatabase } from '../activities/deps.ts';
import { type ListedApproval, listApprovals } from './approvals.ts';

/** How often the list is looked at. */
const LOOK_EVERY_MS = 1_000;

/** An ask that is new here, or whose state is another one than before. */
export interface SeenApproval extends ListedApproval {
  readonly change: 'new' | 'ended';
}

/**
 * Asks that are open now, then those that open and end, until `signal`; of the 200 newest. While the database is away it
 * goes on looking; nothing is told twice. @throws BACKEND_UNAVAILABLE at the first look only
 */
export async function* watchApprovals(
  db: ContentDatabase,
  filter: { readonly tenant?: string },
  how: { readonly signal: AbortSignal; readonly everyMs?: number },
): AsyncGenerator<SeenApproval> {
  const open = new Set<string>();
  let list = await listApprovals(db, filter);
  while (!how.signal.aborted) {
    const listed = new Set(list.map((a) => a.approvalId));
    for (const ask of [...list].reverse()) {
      const change = changeOf(ask, open);
      if (change === null) continue;
      if (change === 'new') open.add(ask.approvalId);
      else open.delete(ask.approvalId);
      yield { ...ask, change };
    }
    // one that 200 newer ones have pushed out is forgotten
    for (const id of open) if (!listed.has(id)) open.delete(id);
    await setTimeout(how.everyMs ?? LOOK_EVERY_MS, undefined, { signal: how.signal }).catch(() => undefined);
    list = await listApprovals(db, filter).catch(() => list);
  }
}

function changeOf({ approvalId, state }: ListedApproval, open: ReadonlySet<string>): SeenApproval['change'] | null {
  if (state === 'open') return open.has(approvalId) ? null : 'new';
  return open.has(approvalId) ? 'ended' : null;
}
