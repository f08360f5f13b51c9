/** Erasing what lies beside entries: a signed command, used once, recorded. Only where everything has ended. */
import { type KeyRow, signerOf } from '../governance/answer.ts';
import { parseCommand, verifySignedCommand } from '../governance/command.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { COMMAND_PAYLOAD_TYPE, parseEnvelope } from '../governance/dsse.ts';
import { makeEntry } from '../governance/entry.ts';
import { type Erasure, erasureTarget, parseErasure } from '../governance/erasure.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import type { Json } from '../governance/json.ts';
import { MAX_SIGNAL_BYTES } from '../governance/limits.ts';
import { type Parsed, exactObject, hexOf, parsing, refuse, valueOf } from '../governance/strict.ts';
import { utf8Length } from '../governance/text.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import type { EraseInput, EraseResult } from './request-types.ts';
import { trustOf } from './trust.ts';
import { recordRefusedCommand, shownReason } from './refused-command.ts';

interface Asked {
  readonly envelope: Json;
  readonly keyId: string;
  readonly tenant: string;
  readonly erasure: Erasure;
}

type Answer =
  | { readonly kind: 'ok'; readonly entries?: number }
  | { readonly kind: 'used' | 'expired' | 'role' | 'unknown' }
  | { readonly kind: 'open'; readonly runs: readonly string[] }
  | { readonly kind: 'questions'; readonly calls: readonly string[] };

/** Erases. What is wrong with a request is a value, however hostile. @throws BACKEND_UNAVAILABLE */
export async function eraseContent(
  deps: Deps,
  input: EraseInput,
  delivery: string = deliveryId(),
): Promise<EraseResult> {
  const read = readErase(input);
  if (read.kind === 'invalid') return { kind: 'rejected', reason: shownReason(read.reason) };
  const { envelope, keyId, tenant, erasure } = read.value;
  const [row] = await deps.db.query<{ c: { nowMs: number; key: (KeyRow & { readonly tenant: string }) | null } }>(
    'select actguard.tenant_command_context($1, $2) as c',
    [tenant, keyId],
  );
  if (!row) throw new Error('the time is not known');
  const { nowMs, key: keyRow } = row.c;
  const target = erasureTarget(erasure);
  const reject = async (reason: string): Promise<EraseResult> => {
    if (keyRow) await recordRefusedCommand(deps, { tenant, target, envelope, atMs: nowMs, reason, delivery });
    return { kind: 'rejected', reason: shownReason(reason) };
  };
  const verified = verifySignedCommand(envelope, { tenant, target }, keyRow, trustOf(deps, nowMs));
  if (verified.kind === 'invalid') return reject(verified.reason);
  const { command, key } = verified.value;
  const entry = makeEntry({
    kind: 'ledger.erased',
    tenant,
    run: erasure.scope === 'user' ? null : erasure.run,
    key: `erased:${command.nonce}`,
    call: erasure.scope === 'call' ? erasure.call : null,
    atMs: nowMs,
    data: {
      target,
      ...(erasure.scope === 'user' ? { user: erasure.user } : {}),
      person: key.person,
      key: key.keyId,
      nonce: command.nonce,
      reason: escapeHidden(command.reason),
      envelopeSha256: digestOf(envelope),
      // in the entry itself: what excuses an erasure is neither erased nor lost with a tenant's key
      envelope,
      ...(keyRow === null ? {} : { enrolment: { envelope: keyRow.envelope, chain: keyRow.chain } }),
      ...(key.dev ? { dev: true } : {}),
    },
  });
  const [used] = await deps.db.query<{ r: Answer }>('select actguard.erase_content($1::jsonb) as r', [
    pgJson({
      tenant,
      ...(erasure.scope === 'user' ? { user: erasure.user } : { run: erasure.run }),
      ...(erasure.scope === 'call' ? { call: erasure.call } : {}),
      nonce: command.nonce,
      target,
      person: key.person,
      keyId: key.keyId,
      keyTenant: keyRow?.tenant ?? '',
      roles: key.roles,
      envelope,
      expMs: Date.parse(command.exp),
      delivery,
      entries: [entry],
    }),
  ]);
  const answer: Answer = used?.r ?? { kind: 'unknown' };
  if (answer.kind === 'ok') return { kind: 'erased', target, by: key.person, entries: answer.entries ?? 0 };
  return reject(refusalOf(answer));
}

function refusalOf(answer: Exclude<Answer, { kind: 'ok' }>): string {
  switch (answer.kind) {
    case 'used':
      return 'the command was used already';
    case 'expired':
      return 'the command has expired';
    case 'role':
      return 'the person is neither operator nor administrator any more';
    case 'unknown':
      return 'there is no such run or call in that tenant';
    case 'open':
      return `these runs have not ended: ${answer.runs.join(', ')}; cancel them first`;
    case 'questions':
      return `what became of these calls is not known yet: ${answer.calls.join(', ')}; resolve them first`;
    default:
      return answer satisfies never;
  }
}

/** What it says, before anything of it is verified: where to look for the key. */
function readErase(input: unknown): Parsed<Asked> {
  return parsing(() => {
    const r = exactObject(input, ['v', 'kind', 'nonce', 'envelope'], 'the erasure');
    if (r.v !== 1) return refuse('the erasure is of an unknown version');
    hexOf(r.nonce, 'the nonce', 16);
    if (utf8Length(JSON.stringify(r.envelope ?? null)) > MAX_SIGNAL_BYTES) return refuse('the envelope is too large');
    const keyId = valueOf(signerOf(r.envelope, COMMAND_PAYLOAD_TYPE));
    const command = valueOf(parseCommand(valueOf(parseEnvelope(r.envelope, COMMAND_PAYLOAD_TYPE)).payload));
    if (command.verb !== 'erase') return refuse('the command is no erase');
    if (command.tenant === EVERY_TENANT) return refuse('content is erased in one tenant');
    const erasure = valueOf(parseErasure(command.target));
    return { envelope: r.envelope as Json, keyId, tenant: command.tenant, erasure };
  });
}
