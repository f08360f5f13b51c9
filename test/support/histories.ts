/** Histories of released workflow shapes: recorded once, replayed by every change after (design, Temporal, visible). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

const folder = fileURLToPath(new URL('../replay/histories/', import.meta.url));

/** Keeps a run's history under this name, when ACTGUARD_RECORD_HISTORIES is set. */
export async function keepHistory(name: string, handle: WorkflowHandle): Promise<void> {
  if (process.env['ACTGUARD_RECORD_HISTORIES'] === undefined) return;
  // who recorded it, and on which machine, is nobody's business
  const unnamed = (_key: string, value: unknown): unknown =>
    typeof value === 'string' && /^\d+@/.test(value) ? 'somebody' : value;
  const json: unknown = JSON.parse(historyToJSON(await handle.fetchHistory()), unnamed);
  writeFileSync(`${folder}${name}.json`, `${JSON.stringify(json)}\n`);
}

/** Every recorded history. */
export function recordedHistories(): readonly { readonly name: string; readonly json: unknown }[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => ({ name: file.slice(0, -5), json: JSON.parse(readFileSync(folder + file, 'utf8')) as unknown }));
}
