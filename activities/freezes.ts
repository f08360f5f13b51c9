/** Freezes. Setting one may be unsigned: it only takes away. Lifting one is a signed command, used once. */
import { type KeyRow, signerOf } from '../governance/answer.ts';
import { type Command, parseCommand, verifySignedCommand } from '../governance/command.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { COMMAND_PAYLOAD_TYPE, parseEnvelope } from '../governance/dsse.ts';
import { makeEntry } from '../governance/entry.ts';
import { type FreezeScope, freezeTarget, parseFreezeTarget } from '../governance/freeze.ts';
import { MAX_SIGNAL_BYTES } from '../governance/limits.ts';
import { type Parsed, exactObject, hexOf, parsing, refuse, valueOf } from '../governance/strict.ts';
import { utf8Length } from '../governance/text.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { setFreeze, setSignedFreeze } from './freeze-set.ts';
import { trustOf } from './trust.ts';
import { pgJson } from './pg-json.ts';
import type { FreezeInput, FreezeResult } from './request-types.ts';
import { recordRefusedCommand, shownReason } from './refused-command.ts';

const REFUSALS: { readonly [problem: string]: string } = {
  used: 'the command was used already',
  expired: 'the command has expired',
  role: 'the person is neither operator nor administrator any more',
};

/** Sets or lifts a freeze. What is wrong with a request is a value, however hostile. @throws BACKEND_UNAVAILABLE */
export async function changeFreeze(
  deps: Deps,
  input: FreezeInput,
  delivery: string = deliveryId(),
): Promise<FreezeResult> {
  switch ((input as Partial<FreezeInput> | null | undefined)?.kind) {
    case 'freeze':
      return setFreeze(deps, input);
    case 'signed-freeze': {
      const read = readSigned(input, 'freeze');
      if (read.kind === 'invalid') return { kind: 'rejected', reason: shownReason(read.reason) };
      return setSignedFreeze(deps, read.value, delivery);
    }
    case 'thaw':
      return liftFreeze(deps, input, delivery);
    default:
      return { kind: 'rejected', reason: 'the request is neither a freeze nor a thaw' };
  }
}

async function liftFreeze(deps: Deps, input: unknown, delivery: string): Promise<FreezeResult> {
  const read = readSigned(input, 'thaw');
  if (read.kind === 'invalid') return { kind: 'rejected', reason: shownReason(read.reason) };
  const { envelope, keyId, scope, target } = read.value;
  const [row] = await deps.db.query<{ c: { nowMs: number; key: (KeyRow & { readonly tenant: string }) | null } }>(
    'select actguard.tenant_command_context($1, $2) as c',
    [scope.tenant, keyId],
  );
  if (!row) throw new Error('the time is not known');
  const { nowMs, key: keyRow } = row.c;
  const reject = async (reason: string): Promise<FreezeResult> => {
    if (keyRow)
      await recordRefusedCommand(deps, { tenant: scope.tenant, target, envelope, atMs: nowMs, reason, delivery });
    return { kind: 'rejected', reason: shownReason(reason) };
  };
  const trust = trustOf(deps, nowMs);
  const verified = verifySignedCommand(envelope, { tenant: scope.tenant, target }, keyRow, trust);
  if (verified.kind === 'invalid') return reject(verified.reason);
  const { command, key } = verified.value;
  const person = key.person;
  const reason = escapeHidden(command.reason);
  const entry = makeEntry({
    kind: 'freeze.lifted',
    tenant: scope.tenant,
    run: null,
    key: `thaw:${command.nonce}`,
    atMs: nowMs,
    data: {
      scope: scope.scope,
      value: scope.value,
      person,
      key: key.keyId,
      nonce: command.nonce,
      reason,
      envelopeSha256: digestOf(envelope),
      ...(key.dev ? { dev: true } : {}),
    },
    content: { envelope },
  });
  const [used] = await deps.db.query<{ r: string }>('select actguard.thaw_scope($1::jsonb) as r', [
    pgJson({
      ...scope,
      nonce: command.nonce,
      target,
      person,
      keyId: key.keyId,
      keyTenant: keyRow?.tenant ?? '',
      roles: key.roles,
      root: key.root === true,
      envelope,
      expMs: Date.parse(command.exp),
      delivery,
      entries: [entry],
    }),
  ]);
  if (used?.r === 'ok') return { kind: 'lifted', ...scope, by: person };
  if (used?.r === 'none') return { kind: 'absent', ...scope };
  return reject(REFUSALS[used?.r ?? ''] ?? 'the command could not be used');
}

/** What a signed freeze or thaw says, before anything of it is verified: where to look for the key and the freeze. */
function readSigned(
  input: unknown,
  verb: 'freeze' | 'thaw',
): Parsed<{
  readonly envelope: NonNullable<Extract<FreezeInput, { kind: 'thaw' }>['envelope']>;
  readonly keyId: string;
  readonly scope: FreezeScope;
  readonly target: string;
}> {
  return parsing(() => {
    const r = exactObject(input, ['v', 'kind', 'nonce', 'envelope'], `the ${verb}`);
    if (r.v !== 1) return refuse(`the ${verb} is of an unknown version`);
    hexOf(r.nonce, 'the nonce', 16);
    if (utf8Length(JSON.stringify(r.envelope ?? null)) > MAX_SIGNAL_BYTES) return refuse('the envelope is too large');
    const keyId = valueOf(signerOf(r.envelope, COMMAND_PAYLOAD_TYPE));
    const command: Command = valueOf(parseCommand(valueOf(parseEnvelope(r.envelope, COMMAND_PAYLOAD_TYPE)).payload));
    if (command.verb !== verb) return refuse(`the command is no ${verb}`);
    const scope = valueOf(parseFreezeTarget(command.target, command.tenant));
    if (verb === 'thaw' && scope.scope === 'run') return refuse('the target is a run, which takes its thaw itself');
    return { envelope: r.envelope as never, keyId, scope, target: freezeTarget(scope) };
  });
}
