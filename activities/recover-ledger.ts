/** `recover`: a root says that the ledger goes on from what the database holds. Signed, used once, recorded. */
import { signerOf } from '../governance/answer.ts';
import { verifySignedCommand } from '../governance/command.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { COMMAND_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { makeEntry } from '../governance/entry.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import { headOf, lookAtTree } from './seal.ts';
import { type SealerDeps, plain } from './seal-ledger.ts';
import type { RecoverInput, RecoverResult } from './seal-types.ts';
import { trustOf } from './trust.ts';

const REFUSALS: { readonly [problem: string]: string } = {
  used: 'the command was used already',
  expired: 'the command has expired',
};

/** Verifies the command, thaws, and answers from where sealing goes on. @throws BACKEND_UNAVAILABLE */
export async function recoverLedger(
  deps: SealerDeps & { readonly trust: Pick<Deps, 'roots' | 'dev' | 'passkeys'> },
  input: RecoverInput,
  delivery: string = deliveryId(),
): Promise<RecoverResult> {
  const reject = (reason: string): RecoverResult => ({ kind: 'rejected', reason: escapeHidden(reason).slice(0, 300) });
  const signer = signerOf(input.envelope, COMMAND_PAYLOAD_TYPE);
  if (signer.kind === 'invalid') return reject(signer.reason);
  const [row] = await deps.worker.query<{ c: { nowMs: number } }>(
    'select actguard.tenant_command_context($1, $2) as c',
    [EVERY_TENANT, signer.value],
  );
  const nowMs = row?.c.nowMs ?? 0;
  const target = { tenant: EVERY_TENANT, target: 'ledger' };
  const verified = verifySignedCommand(input.envelope, target, null, trustOf(deps.trust, nowMs));
  if (verified.kind === 'invalid') return reject(verified.reason);
  const { command, key } = verified.value;
  if (command.verb !== 'recover') return reject('the command is no recover');
  if (key.root !== true) return reject('only a root recovers the ledger');
  // what is there now has to be a whole tree that this log signed: everything after it is lost and said to be
  const looked = await lookAtTree(deps, null);
  if (looked.kind === 'broken') return reject(`the ledger cannot go on from here: ${looked.trouble.reason}`);
  const head = looked.state.note === null ? null : headOf(looked.state.peaks);
  const entry = makeEntry({
    kind: 'ledger.recovered',
    tenant: EVERY_TENANT,
    run: null,
    key: `ledger:recovered:${command.nonce}`,
    atMs: nowMs,
    data: {
      ...plain(input.trouble),
      from: head === null ? null : { size: head.size, root: head.root },
      key: key.keyId,
      nonce: command.nonce,
      statedReason: escapeHidden(command.reason),
      envelopeSha256: digestOf(input.envelope),
      ...(key.dev ? { dev: true } : {}),
    },
    content: { envelope: input.envelope },
  });
  const [used] = await deps.worker.query<{ r: string }>('select actguard.ledger_recovered($1::jsonb) as r', [
    pgJson({
      tenant: EVERY_TENANT,
      nonce: command.nonce,
      target: command.target,
      person: key.person,
      keyId: key.keyId,
      envelope: input.envelope,
      expMs: Date.parse(command.exp),
      delivery,
      entries: [entry],
    }),
  ]);
  if (used?.r !== 'ok') return reject(REFUSALS[used?.r ?? ''] ?? 'the command could not be used');
  return { kind: 'accepted', last: head };
}
