/**
 * Setting a freeze, and aborting what is in flight. Both only take away, so both may be unsigned; past a limit an hour a
 * freeze has to be signed, so that a flood of them keeps no operator from setting the one that matters.
 */
import { type KeyRow } from '../governance/answer.ts';
import { type Command, verifySignedCommand } from '../governance/command.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { makeEntry, type EntryRow } from '../governance/entry.ts';
import { type FreezeScope, freezeTarget, parseFreezeTarget } from '../governance/freeze.ts';
import { parseName } from '../governance/id.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_STATEMENT_TEXT_CHARS, MAX_UNSIGNED_FREEZES_PER_HOUR } from '../governance/limits.ts';
import { exactObject, hexOf, parsing, refuse, textOf, valueOf } from '../governance/strict.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import { trustOf } from './trust.ts';
import type { FreezeResult } from './request-types.ts';

interface SetAnswer {
  readonly kind: 'set' | 'many' | 'unknown' | 'used' | 'expired' | 'role';
  readonly aborted?: number;
}

const REFUSALS: { readonly [problem in Exclude<SetAnswer['kind'], 'set'>]: string } = {
  many: 'too many were set within this hour: sign this one with your key (`--key FILE`)',
  unknown: 'no such run is open in that tenant',
  used: 'the command was used already',
  expired: 'the command has expired',
  role: 'the person is neither operator nor administrator any more',
};

/** Sets a freeze that nobody signed; at most MAX_UNSIGNED_FREEZES_PER_HOUR a tenant. @throws BACKEND_UNAVAILABLE */
export async function setFreeze(deps: Deps, input: unknown): Promise<FreezeResult> {
  const parsed = parsing(() => {
    const given = input as { readonly abort?: unknown } | null;
    const fields = ['v', 'kind', 'nonce', 'tenant', 'target', 'by', 'reason'] as const;
    const r = exactObject(input, given?.abort === undefined ? fields : [...fields, 'abort'], 'the freeze') as {
      readonly [field in (typeof fields)[number] | 'abort']?: unknown;
    };
    if (r.v !== 1) return refuse('the freeze is of an unknown version');
    if (r.abort !== undefined && typeof r.abort !== 'boolean') return refuse('abort is neither true nor false');
    return {
      scope: valueOf(parseFreezeTarget(r.target, r.tenant)),
      nonce: hexOf(r.nonce, 'the nonce', 16),
      by: parseName(r.by, 'by'),
      reason: escapeHidden(textOf(r.reason, 'the reason', MAX_STATEMENT_TEXT_CHARS)),
      abort: r.abort === true,
    };
  });
  if (parsed.kind === 'invalid') return { kind: 'rejected', reason: bounded(parsed.reason) };
  const { scope, nonce, by, reason, abort } = parsed.value;
  const entry = freezeEntry(scope, `freeze:${nonce}`, Date.now(), { by, reason, ...(abort ? { abort } : {}) });
  const answer = await ask(deps, 'set_freeze', {
    ...scope,
    by,
    reason,
    abort,
    max: MAX_UNSIGNED_FREEZES_PER_HOUR,
    entries: [entry],
  });
  return result(answer, scope, by);
}

/** Sets a freeze by a signed command: no limit an hour. @throws BACKEND_UNAVAILABLE */
export async function setSignedFreeze(
  deps: Deps,
  signed: { readonly envelope: Json; readonly keyId: string; readonly scope: FreezeScope },
  delivery: string,
): Promise<FreezeResult> {
  const { envelope, keyId, scope } = signed;
  const [row] = await deps.db.query<{ c: { nowMs: number; key: (KeyRow & { readonly tenant: string }) | null } }>(
    'select actguard.tenant_command_context($1, $2) as c',
    [scope.tenant, keyId],
  );
  if (!row) throw new Error('the time is not known');
  const target = freezeTarget(scope);
  const trust = trustOf(deps, row.c.nowMs);
  const verified = verifySignedCommand(envelope, { tenant: scope.tenant, target }, row.c.key, trust);
  if (verified.kind === 'invalid') return { kind: 'rejected', reason: bounded(verified.reason) };
  const { command, key } = verified.value;
  const abort = command.data['abort'] === true;
  const reason = escapeHidden(command.reason);
  const entry = freezeEntry(
    scope,
    `freeze:${command.nonce}`,
    row.c.nowMs,
    {
      by: key.person,
      person: key.person,
      key: key.keyId,
      nonce: command.nonce,
      reason,
      envelopeSha256: digestOf(envelope),
      ...(abort ? { abort } : {}),
      ...(key.dev ? { dev: true } : {}),
    },
    { envelope },
  );
  const answer = await ask(deps, 'set_signed_freeze', {
    ...scope,
    ...usedBy(command, envelope, delivery),
    target,
    by: key.person,
    reason,
    abort,
    person: key.person,
    keyId: key.keyId,
    keyTenant: row.c.key?.tenant ?? '',
    roles: key.roles,
    root: key.root === true,
    entries: [entry],
  });
  return result(answer, scope, key.person);
}

function freezeEntry(
  scope: FreezeScope,
  key: string,
  atMs: number,
  data: JsonObject,
  content: JsonObject | null = null,
): EntryRow {
  const about = { scope: scope.scope, value: scope.value, ...data };
  return makeEntry({ kind: 'freeze.set', tenant: scope.tenant, run: null, key, atMs, data: about, content });
}

function usedBy(command: Command, envelope: Json, delivery: string) {
  return { nonce: command.nonce, expMs: Date.parse(command.exp), envelope, delivery };
}

async function ask(deps: Deps, name: 'set_freeze' | 'set_signed_freeze', request: object): Promise<SetAnswer> {
  const [row] = await deps.db.query<{ r: SetAnswer }>(`select actguard.${name}($1::jsonb) as r`, [pgJson(request)]);
  if (!row) throw new Error('the freeze was not answered');
  return row.r;
}

function result(answer: SetAnswer, scope: FreezeScope, by: string): FreezeResult {
  if (answer.kind === 'set') return { kind: 'set', ...scope, by, aborted: answer.aborted ?? 0 };
  return { kind: 'rejected', reason: REFUSALS[answer.kind] };
}

function bounded(reason: string): string {
  return escapeHidden(reason).slice(0, 300);
}
