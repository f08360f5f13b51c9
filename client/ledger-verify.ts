/** Verifies a file offline: an export of the ledger or a proof of one call. Needs no connection, trusts no database. */
import { createReadStream } from 'node:fs';
import { ActGuardError } from '../governance/errors.ts';
import { type CallProof, PROOF_KIND, parseCallProof } from '../governance/call-proof.ts';
import { parseExportHead } from '../governance/ledger-export.ts';
import { type Evidence, type ExportVerdict, checkExport } from '../governance/ledger-verify.ts';

/** A line of an export: an entry and what lies beside it; longer ones are no export. */
const MAX_LINE_CHARS = 32 * 1024 * 1024;

/**
 * Verifies an export in a stream. @throws ARGUMENTS_INVALID when the file is none that this version reads, NOT_FOUND
 * when it cannot be read
 */
export async function verifyExport(file: string, evidence: Evidence): Promise<ExportVerdict> {
  let check: ReturnType<typeof checkExport> | undefined;
  for await (const line of linesOf(file)) {
    if (check) check.line(line);
    else {
      const head = parseExportHead(line);
      if (head.kind === 'invalid') throw noExport(file, head.reason);
      check = checkExport(head.value, evidence);
    }
  }
  if (!check) throw noExport(file, 'it is empty');
  return check.end();
}

/** A proof of a call, where the file is one: proofs are one line of JSON; null: it is something else. */
export async function readCallProof(file: string): Promise<CallProof | null> {
  for await (const line of linesOf(file)) {
    const value = parsed(line);
    if ((value as { kind?: unknown } | null)?.kind !== PROOF_KIND) return null;
    const proof = parseCallProof(value);
    if (proof.kind === 'ok') return proof.value;
    throw new ActGuardError('ARGUMENTS_INVALID', `\`${file}\` is no proof of a call: ${proof.reason}`);
  }
  return null;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** Lines end with LF alone: an entry's text may hold what other readers take for a line end. */
async function* linesOf(file: string): AsyncGenerator<string> {
  const stream = createReadStream(file, { encoding: 'utf8', highWaterMark: 1024 * 1024 });
  try {
    let rest = '';
    for await (const chunk of stream) {
      const text = rest + String(chunk);
      let from = 0;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
        yield text.slice(from, end);
        from = end + 1;
      }
      rest = text.slice(from);
      if (rest.length > MAX_LINE_CHARS) throw noExport(file, 'a line is longer than any entry');
    }
    if (rest !== '') yield rest;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EISDIR') throw error;
    throw new ActGuardError('NOT_FOUND', `\`${file}\` cannot be read`, { details: { reason: code } });
  } finally {
    stream.destroy();
  }
}

function noExport(file: string, reason: string): ActGuardError {
  return new ActGuardError('ARGUMENTS_INVALID', `\`${file}\` is no export of a ledger: ${reason}`, {
    hint: 'make one with `actguard ledger export`',
  });
}
