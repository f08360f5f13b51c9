/** Signed commands: verified, used once, recorded. */
import { parseTopUp } from '../governance/account.ts';
import { signerOf, type KeyRow } from '../governance/answer.ts';
import { canonicalize } from '../governance/canonical.ts';
import { runTarget, verifySignedCommand } from '../governance/command.ts';
import { digestOf, sha256Hex } from '../governance/digest.ts';
import { COMMAND_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { escapeHidden } from '../governance/denial.ts';
import { makeEntry } from '../governance/entry.ts';
import type { Json } from '../governance/json.ts';
import { MAX_REJECTED_ANSWERS } from '../governance/limits.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { trustOf } from './trust.ts';
import type { VerifyCommandInput, VerifyCommandResult } from './types.ts';

interface CommandContext {
  readonly nowMs: number;
  readonly tenant: string | null;
  readonly key: (KeyRow & { readonly tenant: string }) | null;
}

const REFUSALS: { readonly [problem: string]: string } = {
  used: 'the command was used already',
  expired: 'the command has expired',
  role: 'the person is neither operator nor administrator any more',
};

/**
 * Verifies a command for a run and uses its nonce. The command says which tenant, run and verb it is for; whether the
 * verb is the signal's is the workflow's to compare. Never throws on hostile input. @throws BACKEND_UNAVAILABLE
 */
export async function verifyCommand(
  deps: Deps,
  input: VerifyCommandInput,
  delivery: string = deliveryId(),
): Promise<VerifyCommandResult> {
  const signer = signerOf(input.envelope, COMMAND_PAYLOAD_TYPE);
  const keyId = signer.kind === 'ok' ? signer.value : '';
  const [row] = await deps.db.query<{ c: CommandContext }>('select actguard.command_context($1, $2) as c', [
    input.run,
    keyId,
  ]);
  const context = row?.c;
  if (!context || context.tenant === null) return { kind: 'rejected', reason: 'the run was never opened' };
  const { tenant, nowMs } = context;
  const reject = (reason: string): Promise<VerifyCommandResult> =>
    recordInvalid(deps, input, { tenant, nowMs }, delivery, reason);
  if (signer.kind === 'invalid') return reject(signer.reason);

  const trust = trustOf(deps, nowMs);
  const verified = verifySignedCommand(input.envelope, { tenant, target: runTarget(input.run) }, context.key, trust);
  if (verified.kind === 'invalid') return reject(verified.reason);
  const { command, key } = verified.value;
  if (command.verb === 'freeze') return reject('a run is frozen by an unsigned signal');
  if (command.verb === 'limit') return reject('a run has no account: its budget is topped up');
  if (command.verb === 'erase') return reject('content is erased by a request of its own');
  if (command.verb === 'activatePolicies') return reject('policies are activated for a tenant, not for a run');

  if (input.takes && !input.takes.includes(command.verb))
    return reject(`\`${command.verb}\` is taken elsewhere: the command is as good as before`);

  if (command.verb === 'topUp') {
    if (input.budget?.child) return reject('a child run spends the budget of its parent: top that one up');
    const more = parseTopUp(command.data, input.budget?.limit ?? null);
    if (more.kind === 'invalid') return reject(more.reason);
  }

  const entry = makeEntry({
    kind: 'command.accepted',
    tenant,
    run: input.run,
    key: `command:${command.nonce}`,
    atMs: nowMs,
    data: {
      verb: command.verb,
      target: command.target,
      nonce: command.nonce,
      person: key.person,
      key: key.keyId,
      envelopeSha256: digestOf(input.envelope),
      ...(key.dev ? { dev: true } : {}),
    },
    content: { envelope: input.envelope },
  });
  const [used] = await deps.db.query<{ r: string }>('select actguard.use_command($1::jsonb) as r', [
    JSON.stringify({
      tenant,
      verb: command.verb,
      nonce: command.nonce,
      target: command.target,
      person: key.person,
      keyId: key.keyId,
      keyTenant: context.key?.tenant ?? '',
      roles: key.roles,
      envelope: input.envelope,
      expMs: Date.parse(command.exp),
      delivery,
      entries: [entry],
    }),
  ]);
  if (used?.r !== 'ok') return reject(REFUSALS[used?.r ?? ''] ?? 'the command could not be used');
  return { kind: 'accepted', verb: command.verb, person: key.person, reason: command.reason, data: command.data };
}

/** Records why a genuine command was not carried out, and rejects it. @throws BACKEND_UNAVAILABLE */
export function refuseCommand(
  deps: Deps,
  input: VerifyCommandInput,
  tenant: string,
  reason: string,
  delivery: string = deliveryId(),
): Promise<VerifyCommandResult> {
  return recordInvalid(deps, input, { tenant, nowMs: Date.now() }, delivery, reason);
}

async function recordInvalid(
  deps: Deps,
  input: VerifyCommandInput,
  where: { readonly tenant: string; readonly nowMs: number },
  delivery: string,
  reason: string,
): Promise<VerifyCommandResult> {
  const bounded = escapeHidden(reason).slice(0, 300);
  const entry = makeEntry({
    kind: 'command.invalid',
    tenant: where.tenant,
    run: input.run,
    key: `command:invalid:${sha256Hex(delivery)}`,
    atMs: where.nowMs,
    data: { reason: bounded, envelopeSha256: digestOrNull(input.envelope) },
  });
  await deps.db.query('select actguard.record_invalid($1::jsonb)', [
    JSON.stringify({
      approval: '',
      run: input.run,
      kind: 'command.invalid',
      max: MAX_REJECTED_ANSWERS,
      entries: [entry],
    }),
  ]);
  return { kind: 'rejected', reason: bounded };
}

function digestOrNull(value: Json): string | null {
  try {
    return sha256Hex(canonicalize(value));
  } catch {
    return null;
  }
}
