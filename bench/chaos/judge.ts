/** Compares the service's own books with what runs answered and what the effects and the ledger say. */
import type { Database } from '../../activities/deps.ts';
import type { Booked } from './stack.ts';

export interface Judged {
  /** Refunds beyond the first of an order. */
  readonly duplicates: number;
  /** Orders that count as refunded and are not in the books, and those that runs gave up. */
  readonly lost: number;
  /** Outcomes that were unknown for a while. */
  readonly unknown: number;
  /** Outcomes that were said to be known and are not what the books say. */
  readonly unknownWrong: number;
  /** Effects whose ledger entries do not tell their state. */
  readonly ledgerMismatches: number;
  /** Open questions about receivers that need no person. */
  readonly questionsLeft: number;
  /** Examples of what is wrong, for whoever has to find out why. */
  readonly wrong: readonly string[];
}

interface Row {
  readonly run: string;
  readonly call: string;
  readonly tool: string;
  readonly state: string;
  readonly order_id: string | null;
  /** What the call was answered with. */
  readonly refund_id: string | null;
  readonly kinds: readonly string[];
}

const FINAL: { readonly [state: string]: readonly string[] } = {
  succeeded: ['call.succeeded', 'call.resolved', 'call.late'],
  failed: ['call.failed', 'call.resolved'],
  unknown: ['call.unknown'],
};

/** `done`: the orders that runs answered as refunded; `givenUp`: how many they ended without. */
export async function judge(
  db: Database,
  books: readonly Booked[],
  done: ReadonlySet<string>,
  givenUp = 0,
): Promise<Judged> {
  const wrong: string[] = [];
  const times = new Map<string, number>();
  for (const { orderId } of books) times.set(orderId, (times.get(orderId) ?? 0) + 1);
  const rows = await db.query<Row>(
    `select c.run, c.call, c.tool, c.state, case when c.state = 'succeeded' then c.result #>> '{output,refundId}' end as refund_id,
       (select ec.content #>> '{args,orderId}' from actguard.entries e join actguard.entry_contents ec on ec.entry_id = e.id
        where e.run = c.run and e.call = c.call and e.kind = 'call.started' limit 1) as order_id,
       array(select e.kind from actguard.entries e where e.run = c.run and e.call = c.call) as kinds
     from actguard.calls c`,
  );
  const succeeded = new Set<string>();
  const open = new Set<string>();
  const note = (what: string, row: Row | null, order: string): void => {
    wrong.push(
      `${what}: order ${order}${row ? ` ${row.run}/${row.call} ${row.tool} ${row.state} ${row.kinds.join(',')}` : ''}`,
    );
  };
  let [duplicates, lost, unknownWrong, ledgerMismatches] = [0, givenUp, 0, 0];
  for (const row of rows) {
    const order = row.order_id ?? '?';
    if (row.state === 'succeeded') succeeded.add(order);
    else if (row.state !== 'failed') open.add(order);
    const final = FINAL[row.state];
    if (row.kinds.includes('call.contradicted')) {
      unknownWrong += 1;
      note('recorded as something else before', row, order);
    }
    if (
      row.refund_id !== null &&
      times.has(order) &&
      !books.some((b) => b.orderId === order && b.refundId === row.refund_id)
    ) {
      ledgerMismatches += 1;
      note(`answered with ${row.refund_id}, which is not in the books`, row, order);
    }
    if (!row.kinds.includes('call.started') || (final && !final.some((kind) => row.kinds.includes(kind)))) {
      ledgerMismatches += 1;
      note('ledger', row, order);
    }
  }
  for (const [order, n] of times) {
    if (n > 1) {
      duplicates += n - 1;
      for (const row of rows.filter((r) => r.order_id === order)) note('duplicate', row, order);
      wrong.push(
        `duplicate: order ${order} booked at ${books.flatMap((b) => (b.orderId === order ? [b.at] : [])).join(', ')}`,
      );
      wrong.push(...(await story(db, order)));
    }
    if (!succeeded.has(order) && !open.has(order)) {
      unknownWrong += 1;
      note('happened, recorded as not', rows.find((r) => r.order_id === order) ?? null, order);
    }
  }
  for (const order of new Set([...succeeded, ...done])) {
    if (times.has(order)) continue;
    lost += 1;
    note('recorded, not in the books', rows.find((r) => r.order_id === order) ?? null, order);
  }
  return {
    duplicates,
    lost,
    unknown: rows.filter((r) => r.kinds.includes('call.unknown')).length,
    unknownWrong,
    ledgerMismatches,
    questionsLeft: rows.filter((r) => r.state === 'unknown' && r.tool !== 'payments.plain').length,
    wrong: wrong.slice(0, 40),
  };
}

/** When what happened to the calls of an order: for whoever has to find out why. */
async function story(db: Database, order: string): Promise<string[]> {
  const calls = await db.query<{ t: string }>(
    `select jsonb_build_object('run', run, 'call', call, 'state', state, 'attempts', attempts, 'claimed', claimed_at, 'lastClaim', last_claim_at,
       'lastSend', last_send_at, 'leaseUntil', lease_until, 'finished', finished_at, 'asked', asked, 'sends', sends, 'resolved', resolved)::text as t
     from actguard.calls c where exists (select from actguard.entries e join actguard.entry_contents ec on ec.entry_id = e.id
       where e.run = c.run and e.call = c.call and ec.content #>> '{args,orderId}' = $1)`,
    [order],
  );
  const entries = await db.query<{ t: string }>(
    `select e.inserted_at::text || ' ' || e.run || '/' || e.call || ' ' || convert_from(e.body, 'UTF8') as t from actguard.entries e
     where (e.run, e.call) in (select e.run, e.call from actguard.entries e join actguard.entry_contents ec on ec.entry_id = e.id
       where ec.content #>> '{args,orderId}' = $1) order by e.id`,
    [order],
  );
  return [...calls, ...entries].map(({ t }) => t);
}
