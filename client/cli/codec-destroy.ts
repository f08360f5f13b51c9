/** `actguard codec destroy`: a tenant's keys go, and with them its past; nothing else ever reads it again. */
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readPayloadKeys, writePayloadKeys, type PayloadKey } from '../../activities/payload-keys.ts';
import type { ContentDatabase } from '../../activities/deps.ts';
import { makeEntry } from '../../governance/entry.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { ActGuard } from '../client.ts';
import { withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { visible } from './show-approval.ts';

/** Runs that are named, and closed, at once. */
const BATCH = 100;
const NAMED = 5;

interface Flags {
  readonly tenant: string;
  readonly reason: string;
  readonly closeRuns?: boolean;
}

/** Registers the command under `codec`; `fileOf` finds the file of keys. */
export function registerDestroy(
  command: (name: string, description: string) => Command,
  fileOf: (given: string | undefined) => string,
  io: Io,
): void {
  command('destroy', "destroy a tenant's keys: everything that they encrypted becomes unreadable for ever")
    .requiredOption('--tenant <tenant>', 'whose')
    .requiredOption('--reason <reason>', 'why; recorded in the ledger')
    .option('--close-runs', "cancel the tenant's open runs first, and wait for them to end")
    .action((flags: Flags & { keys?: string }) =>
      withActguard(io, (actguard) => destroy(actguard, resolve(fileOf(flags.keys)), flags, io)),
    );
}

async function destroy(actguard: ActGuard, file: string, flags: Flags, io: Io): Promise<void> {
  const { tenant } = flags;
  const own = ownKeys(file, tenant);
  if (flags.closeRuns) await closeRuns(actguard, tenant, io);
  await refuseWhileNeeded(actguard.db, tenant);
  const question = `destroy ${own.length} keys of ${visible(tenant)}? Its past becomes unreadable, and nothing brings it back`;
  if (!(await io.confirm(question))) throw new ActGuardError('CONFLICT', 'nothing was destroyed');
  const ids = own.map(({ id }) => id);
  await record(actguard.db, tenant, ids, flags.reason);
  // read again: a key that was added meanwhile is not lost
  writePayloadKeys(
    file,
    readPayloadKeys(file).filter(({ id }) => !ids.includes(id)),
  );
  io.json({ tenant, destroyed: ids, file });
  io.line(`destroyed ${ids.join(', ')} in ${file}`);
  io.line('take them out of every copy and backup of that file, too: as long as one is left, the past can be read');
}

function ownKeys(file: string, tenant: string): readonly PayloadKey[] {
  const own = readPayloadKeys(file).filter((key) => key.tenant === tenant);
  if (own.length > 0) return own;
  throw new ActGuardError('NOT_FOUND', `\`${tenant}\` has no key of its own in \`${file}\``, {
    hint: 'what is kept of it stands under the key for the rest, or in clear: `actguard ledger erase` erases that',
  });
}

/** @throws CONFLICT while a run is open or an outcome unknown: what they need would be gone */
async function refuseWhileNeeded(db: ContentDatabase, tenant: string): Promise<void> {
  const { runs, calls } = await needed(db, tenant);
  if (runs.length > 0) {
    throw new ActGuardError('CONFLICT', `runs of \`${tenant}\` are open: ${named(runs)}`, {
      hint: 'cancel them, or give --close-runs',
      details: { runs },
    });
  }
  if (calls.length === 0) return;
  throw new ActGuardError('CONFLICT', `outcomes of \`${tenant}\` are not known yet: ${named(calls)}`, {
    hint: 'answer them first: `actguard questions`, `actguard resolve`',
    details: { calls },
  });
}

async function closeRuns(actguard: ActGuard, tenant: string, io: Io): Promise<void> {
  for (;;) {
    const { runs } = await needed(actguard.db, tenant);
    if (runs.length === 0) return;
    io.progress(`closing ${runs.length} runs`);
    const ended = await Promise.all(runs.map((run) => closeRun(actguard, run)));
    if (ended.every((closed) => !closed)) return; // the refusal names them
  }
}

/** Whether it has ended by that; one whose workflow is gone is the janitor's to close. */
async function closeRun(actguard: ActGuard, id: string): Promise<boolean> {
  try {
    const run = actguard.run(id);
    await run.cancel();
    await run.result();
    return true;
  } catch {
    return false;
  }
}

async function needed(db: ContentDatabase, tenant: string): Promise<{ runs: string[]; calls: string[] }> {
  const [row] = await db.query<{ n: { runs: string[]; calls: string[] } }>(
    'select actguard.content_needed($1, $2) as n',
    [tenant, BATCH],
  );
  return row?.n ?? { runs: [], calls: [] };
}

/** Before a key goes: what cannot be recorded is not destroyed. */
async function record(db: ContentDatabase, tenant: string, keys: readonly string[], reason: string): Promise<void> {
  const entry = makeEntry({
    kind: 'codec.destroyed',
    tenant,
    run: null,
    key: `codec:destroyed:${keys.join(':')}`,
    atMs: Date.now(),
    data: { keys, reason: reason.slice(0, 300), by: `local:${userInfo().username}` },
  });
  await db.query('select actguard.append_entries($1::jsonb)', [JSON.stringify([entry])]);
}

function named(ids: readonly string[]): string {
  const more = ids.length > NAMED ? ` and ${ids.length - NAMED} more` : '';
  return `${ids.slice(0, NAMED).map(visible).join(', ')}${more}`;
}
