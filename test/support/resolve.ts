/** Says what happened to an unknown call, as a verified `resolve` would. */
import { randomUUID } from 'node:crypto';
import type { Database } from '../../activities/deps.ts';

export async function resolveCall(db: Database, run: string, call: string, spentMicros: number): Promise<void> {
  const result = { kind: 'done', output: {}, spentMicros, bytes: 2 };
  const [row] = await db.query<{ a: { kind: string } }>('select actguard.resolve_call($1::jsonb) as a', [
    JSON.stringify({
      run,
      call,
      state: 'succeeded',
      token: randomUUID(),
      timeoutMs: 0,
      result,
      resolved: { by: 'test' },
      entries: [],
    }),
  ]);
  if (row?.a.kind !== 'ok') throw new Error(JSON.stringify(row));
}
