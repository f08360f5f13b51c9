/** `actguard ledger audit`: integrity and completeness of the live ledger. Exits 0 both hold, 1 could not check, 2 one does not. */
import type { Command } from 'commander';
import { signatureChecks } from '../../activities/signatures.ts';
import { readHistory } from '../../activities/history.ts';
import { sealerIdOf } from '../../workflows/ids.ts';
import { sealedQuery } from '../../workflows/messages.ts';
import type { Json } from '../../governance/json.ts';
import { auditLedger } from '../ledger-audit.ts';
import { withActguard } from './doors.ts';
import type { Io } from './io.ts';
import { devKeyText } from './ledger-export.ts';
import { keyOf } from './ledger-verify.ts';
import { EXIT } from './output.ts';
import { visible } from './show-approval.ts';

/** What is written when the audit begins is sealed by then, where a sealer works. */
const SEALED_WITHIN_MS = 10_000;

interface Flags {
  readonly key: readonly string[];
  readonly witness?: string;
  readonly root: readonly string[];
  readonly histories?: boolean;
}

/** Registers the command. */
export function registerAudit(ledger: Command, io: Io): void {
  const collect = (text: string, before: readonly string[]): readonly string[] => [...before, text];
  ledger
    .command('audit')
    .description('check the live ledger: is it what was signed, and is anything missing')
    .option('--key <key>', "the log's public key; default: the dev stack's", collect, [])
    .option('--witness <key>', 'a witness whose signature the ledger has to carry')
    .option(
      '--root <fingerprint>',
      "an administrator's root: whose commands to erase count; may be given again",
      collect,
      [],
    )
    .option('--histories', 'compare every workflow history that Temporal still has, also those compared before')
    .action((flags: Flags) =>
      withActguard(io, async (actguard) => {
        const keys = flags.key.length > 0 ? flags.key : [devKeyText(actguard.target.stateDirectory)];
        const handle = actguard.client.workflow.getHandle(sealerIdOf(actguard.taskQueue));
        const sealer = await handle.query(sealedQuery).catch(() => null);
        if (sealer === null) io.progress('the sealer did not answer: what it remembers is not compared');
        const verdict = await auditLedger(actguard.db, {
          keys: keys.map((text) => keyOf('--key', text, 'log')),
          witness: flags.witness === undefined ? null : keyOf('--witness', flags.witness, 'witness'),
          commands: { roots: flags.root.length > 0 ? flags.root : null, checks: signatureChecks },
          tripwire: sealer?.last ?? null,
          history: (workflowId, run) => readHistory(actguard.client, workflowId, run),
          waitMs: SEALED_WITHIN_MS,
          allHistories: flags.histories === true,
        });
        io.json(verdict as unknown as Json);
        io.line(`integrity: ${verdict.integrity}`);
        for (const problem of verdict.problems) io.line(`  ${visible(problem)}`);
        io.line(`completeness: ${verdict.completeness}`);
        for (const problem of verdict.missing) io.line(`  ${visible(problem)}`);
        io.line(`${verdict.size} entries sealed, ${verdict.waiting} wait, ${verdict.checkpoints} checkpoints`);
        if (verdict.erased > 0) io.line(`content erased, on record: ${verdict.erased} entries`);
        if (verdict.integrity !== 'valid' || verdict.completeness !== 'complete') io.exitWith(EXIT.denied);
      }),
    );
}
