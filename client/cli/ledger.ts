/** `actguard ledger …`: reading, exporting, proving and verifying; verifying needs no connection. */
import type { Command } from 'commander';
import type { Io } from './io.ts';
import { registerAudit } from './ledger-audit.ts';
import { registerErase } from './ledger-erase.ts';
import { registerExport } from './ledger-export.ts';
import { registerList } from './ledger-list.ts';
import { registerRecover } from './ledger-recover.ts';
import { registerVerify } from './ledger-verify.ts';

/** Registers the commands. */
export function register(program: Command, io: Io): void {
  const ledger = program.command('ledger').description('read, export, prove and verify the ledger');
  registerList(ledger, io);
  registerExport(ledger, io);
  registerVerify(ledger, io);
  registerAudit(ledger, io);
  registerRecover(ledger, io);
  registerErase(ledger, io);
}
