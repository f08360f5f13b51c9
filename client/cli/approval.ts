/** `actguard approval show|export|verify`: one ask, as evidence. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { foreignChecks } from '../../governance/bundle.ts';
import { ActGuardError } from '../../governance/errors.ts';
import type { Json } from '../../governance/json.ts';
import { readApproval } from '../approvals.ts';
import { exportBundle, verifyBundleText } from '../bundle.ts';
import { type Doors, connected } from './doors.ts';
import { showApproval, visible } from './show-approval.ts';

/** A bundle is a few kilobytes an answer. */
const MAX_BUNDLE_BYTES = 8 * 1024 * 1024;

/** Registers the commands. */
export function register(program: Command, doors: Doors): void {
  const approval = program.command('approval').description('one ask: its content, and the evidence of its answers');
  approval
    .command('show')
    .description('show an ask, open or ended')
    .argument('<id>', 'the ask')
    .action((id: string) =>
      connected(doors, async ({ db }) => {
        const ask = await readApproval(db, id);
        doors.json(ask as unknown as Json);
        for (const line of showApproval(ask, Date.now())) doors.line(line);
      }),
    );
  approval
    .command('export')
    .description('write what proves the answers of an ask: for somebody who trusts neither us nor our database')
    .argument('<id>', 'the ask')
    .option('--out <file>', 'where to write it; default: standard output')
    .option('--tlogverify', 'in the input form of an independent verifier instead')
    .action((id: string, options: { out?: string; tlogverify?: boolean }) =>
      connected(doors, async ({ db }) => {
        const bundle = await exportBundle(db, id);
        const value = options.tlogverify === true ? foreignChecks(bundle) : (bundle as unknown as Json);
        const text = JSON.stringify(value, null, 2);
        if (options.out === undefined) doors.line(text);
        else writeFileSync(options.out, `${text}\n`, { mode: 0o600, flag: 'wx' });
        doors.json(options.out === undefined ? value : { file: options.out });
        if (options.out !== undefined) doors.line(`wrote ${options.out}`);
      }),
    );
  approval
    .command('verify')
    .description('verify an exported bundle offline: signatures, enrolments, commitments, quorum')
    .argument('<file>', 'the bundle')
    .option(
      '--root <fingerprint...>',
      "administrators' fingerprints that you trust; without them compare what is printed",
    )
    .action((file: string, options: { root?: string[] }) => {
      const text = readFileSync(file);
      if (text.length > MAX_BUNDLE_BYTES)
        throw new ActGuardError('LIMIT_EXCEEDED', 'this is no bundle: it is too large');
      const roots = options.root?.map((root) => root.toLowerCase()) ?? null;
      const { verified } = verifyBundleText(text.toString('utf8'), roots);
      const { request, answers, approved, rejected } = verified;
      const decision = approved ? 'approved' : rejected ? 'rejected' : 'not enough answers';
      doors.json({
        valid: true,
        decision,
        approvalId: request.approvalId,
        run: request.run,
        call: request.call,
        tool: request.tool,
        people: answers.map((a) => a.key.person),
        roots: [...verified.roots],
      });
      doors.line(
        `valid      ${decision}: ${visible(request.tool)}, run ${visible(request.run)}, call ${visible(request.call)}`,
      );
      for (const { statement, key } of answers) {
        doors.line(
          `signed     ${visible(statement.decision)} by ${visible(key.person)} at ${statement.at}, ${key.kind === 'webauthn' ? 'passkey' : 'key file'} ${key.keyId.slice(0, 16)}${key.dev ? ' (dev key)' : ''}`,
        );
      }
      for (const root of verified.roots)
        doors.line(`root       ${root}${roots === null ? '  (compare it)' : '  (trusted)'}`);
      for (const { person, at } of verified.revoked)
        doors.line(`revoked    the key of ${visible(person)}, later: ${at}`);
      if (verified.contentErased) doors.line('content    erased; the signatures hold');
      if (verified.contentUnreadable !== null)
        doors.line(visible(`content    unreadable: key ${verified.contentUnreadable} is gone; the signatures hold`));
    });
}
