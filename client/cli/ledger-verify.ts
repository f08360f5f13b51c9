/** `actguard ledger verify`: offline. Exits 0 valid, 1 could not check, 2 invalid, 3 bad input. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { signatureChecks, verifySignature } from '../../activities/signatures.ts';
import { type CallVerdict, verifyCallProof } from '../../governance/call-proof.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import type { Evidence, ExportVerdict } from '../../governance/ledger-verify.ts';
import { MAX_NOTE_BYTES } from '../../governance/limits.ts';
import { type NoteKey, type NoteKeyKind, parseNoteKey } from '../../governance/note.ts';
import { readCallProof, verifyExport } from '../ledger-verify.ts';
import type { Io } from './io.ts';
import { EXIT } from './output.ts';
import { visible } from './show-approval.ts';

interface Flags {
  readonly key: readonly string[];
  readonly witness?: string;
  readonly checkpoint?: string;
  readonly notBefore?: string;
  readonly root: readonly string[];
  readonly dev?: boolean;
}

/** Registers the command. */
export function registerVerify(ledger: Command, io: Io): void {
  const collect = (text: string, before: readonly string[]): readonly string[] => [...before, text];
  ledger
    .command('verify')
    .description(
      'verify an export or the proof of a call, offline: exit 0 valid, 1 could not check, 2 invalid, 3 bad input',
    )
    .argument('<file>', 'the file')
    .option('--key <key>', "the log's public key; may be given again while it rotates", collect, [])
    .option('--witness <key>', 'a witness whose signature the checkpoint has to carry')
    .option('--checkpoint <file>', 'a checkpoint kept from another time: the file has to hold all that it was over')
    .option('--not-before <time>', 'the witness has to have seen it at or after this (ISO 8601)')
    .option(
      '--root <fingerprint>',
      "an administrator's root: whose approvals and commands count; may be given again",
      collect,
      [],
    )
    .option('--dev', 'approvals by keys of a dev stack count')
    .action((file: string, flags: Flags) => verify(file, flags, io));
}

async function verify(file: string, flags: Flags, io: Io): Promise<void> {
  if (flags.key.length === 0) {
    throw new ActGuardError('ARGUMENTS_INVALID', 'without the public key of the log nothing can be verified', {
      hint: 'give it with `--key`; docs/ledger.md says how to get it',
    });
  }
  const evidence: Evidence = {
    keys: flags.key.map((text) => keyOf('--key', text, 'log')),
    witness: flags.witness === undefined ? null : keyOf('--witness', flags.witness, 'witness'),
    checkpoint: flags.checkpoint === undefined ? null : noteOf(flags.checkpoint),
    ...(flags.notBefore === undefined ? {} : { notBeforeSeconds: timeOf(flags.notBefore) }),
    verify: verifySignature,
    commands: { roots: flags.root.length > 0 ? flags.root : null, checks: signatureChecks },
  };
  const proof = await readCallProof(file);
  if (proof !== null) {
    const trust = { roots: flags.root, dev: flags.dev === true, passkeys: null, checks: signatureChecks };
    return sayCall(verifyCallProof(proof, evidence, trust), io);
  }
  sayExport(await verifyExport(file, evidence), io);
}

function sayExport(verdict: ExportVerdict, io: Io): void {
  io.json(verdict as unknown as Json);
  io.line(`integrity: ${verdict.integrity}`);
  for (const problem of verdict.problems) io.line(`  ${visible(problem)}`);
  io.line(`completeness: ${verdict.completeness}`);
  for (const problem of verdict.missing) io.line(`  ${visible(problem)}`);
  const { freshness, entries, size, erased, origin } = verdict;
  io.line(`log ${visible(origin)}: ${size} entries, ${entries} of them in full`);
  if (erased > 0) io.line(`content erased, on record: ${erased} entries`);
  sayUnreadable(verdict.unreadable, verdict.integrity, io);
  switch (freshness.kind) {
    case 'unwitnessed':
      io.line('freshness: unwitnessed (a cut end cannot be seen: give `--witness` or a later `--checkpoint`)');
      break;
    case 'witnessed':
      io.line(`freshness: witnessed by ${freshness.by} at ${new Date(freshness.atSeconds * 1000).toISOString()}`);
      break;
    case 'checkpoint':
      io.line(`freshness: holds all ${freshness.size} entries of the checkpoint that was kept`);
      break;
    default:
      freshness satisfies never;
  }
  if (verdict.integrity === 'invalid' || verdict.completeness === 'incomplete') io.exitWith(EXIT.denied);
}

function sayCall(verdict: CallVerdict, io: Io): void {
  io.json(verdict as unknown as Json);
  io.line(`integrity: ${verdict.integrity}`);
  for (const problem of verdict.problems) io.line(`  ${visible(problem)}`);
  const by = verdict.approvedBy.length === 0 ? '' : ` by ${verdict.approvedBy.join(', ')}`;
  io.line(
    visible(`call ${verdict.call} of run ${verdict.run}: ${verdict.tool ?? 'no tool'}, ${verdict.authorization}${by}`),
  );
  if (verdict.policy !== null) io.line(visible(`policies ${verdict.policy}`));
  if (verdict.outcome.length > 0) io.line(visible(`then ${verdict.outcome.join(', ')}`));
  if (verdict.erased > 0) io.line(`content erased, on record: ${verdict.erased} entries`);
  for (const place of verdict.erasedWithoutRecord)
    io.line(visible(`${place}: its content is not in the file, and no entry says that it was erased`));
  sayUnreadable(verdict.unreadable, verdict.integrity, io);
  if (verdict.integrity === 'invalid' || verdict.erasedWithoutRecord.length > 0) io.exitWith(EXIT.denied);
}

function sayUnreadable(unreadable: ExportVerdict['unreadable'], integrity: string, io: Io): void {
  for (const [key, entries] of Object.entries(unreadable))
    io.line(visible(`${integrity}, content unreadable: key ${key} is gone (${entries} entries)`));
}

/** A public key as an option gives it. @throws ARGUMENTS_INVALID */
export function keyOf(flag: string, text: string, kind: NoteKeyKind): NoteKey {
  const parsed = parseNoteKey(text.trim());
  if (parsed.kind === 'ok' && parsed.value.kind === kind) return parsed.value;
  const reason = parsed.kind === 'invalid' ? parsed.reason : `it is the key of a ${parsed.value.kind}`;
  throw new ActGuardError('ARGUMENTS_INVALID', `\`${flag}\`: ${reason}`, {
    hint: 'it looks like `name+1a2b3c4d+AY…`; `actguard ledger key` prints it',
  });
}

function noteOf(file: string): string {
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length <= MAX_NOTE_BYTES) return text;
  } catch {
    throw new ActGuardError('NOT_FOUND', `the checkpoint \`${file}\` cannot be read`);
  }
  throw new ActGuardError('ARGUMENTS_INVALID', `\`${file}\` is too long for a checkpoint`);
}

function timeOf(text: string): number {
  const atMs = Date.parse(text);
  if (!Number.isNaN(atMs)) return Math.floor(atMs / 1000);
  throw new ActGuardError('ARGUMENTS_INVALID', '`--not-before` is no time', {
    hint: 'write it as 2026-11-24T17:00:00Z',
  });
}
