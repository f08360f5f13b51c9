/**
 * Activating a policy set: a signed command, used once, for a set that fits this deployment's tools and for what it
 * said it replaces. A set that loosens waits for a second person where there are two (trust.md, Keys and commands).
 */
import { type KeyRow, signerOf } from '../governance/answer.ts';
import { type Command, type CommandKey, parseCommand, verifySignedCommand } from '../governance/command.ts';
import { escapeHidden } from '../governance/denial.ts';
import { digestOf } from '../governance/digest.ts';
import { COMMAND_PAYLOAD_TYPE, parseEnvelope } from '../governance/dsse.ts';
import { makeEntry, type EntryRow } from '../governance/entry.ts';
import { isActGuardError } from '../governance/errors.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import { parseName } from '../governance/id.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { MAX_LISTED_LOOSENINGS, MAX_SIGNAL_BYTES } from '../governance/limits.ts';
import { type PolicyTarget, parsePolicyTarget, policyTarget } from '../governance/policy-activation.ts';
import { type Parsed, exactObject, hexOf, parsing, refuse, valueOf } from '../governance/strict.ts';
import { utf8Length } from '../governance/text.ts';
import { deliveryId } from './delivery.ts';
import type { Deps } from './deps.ts';
import { pgJson } from './pg-json.ts';
import { type ActivationEvidence, verifyActivation } from './policy-evidence.ts';
import { loosens } from './policy-loosens.ts';
import type { PolicyStore } from './policy-store.ts';
import { trustOf } from './trust.ts';
import type { PolicyInput, PolicyResult } from './request-types.ts';
import { recordRefusedCommand, shownReason } from './refused-command.ts';

interface Context {
  readonly nowMs: number;
  readonly key: (KeyRow & { readonly tenant: string }) | null;
  readonly active: string | null;
  readonly everywhere: string | null;
  readonly proposals: readonly { readonly person: string; readonly evidence: ActivationEvidence }[];
  /** Operators and administrators whose keys count here. */
  readonly people: number;
}

interface Asked {
  readonly envelope: Json;
  readonly keyId: string;
  readonly tenant: string;
  readonly target: PolicyTarget;
  readonly replaces: string | null;
}

/** A command that was verified, and everything that decides what becomes of it. */
interface Verified extends Asked {
  readonly context: Context;
  readonly command: Command;
  readonly key: CommandKey;
  readonly loosens: readonly string[];
  /** Another person's proposal of the same, verified again. */
  readonly second: Context['proposals'][number] | undefined;
}

const REFUSALS: { readonly [problem: string]: string } = {
  used: 'the command was used already',
  expired: 'the command has expired',
  role: 'the person is neither operator nor administrator any more',
  moved: 'something else is active by now than what it replaces: look at `actguard policy list` and sign again',
  unknown: 'there is no such policy set: push it first',
  second: 'the other person who signed may not any more',
};

/** Activates or proposes. What is wrong with a request is a value, however hostile. @throws BACKEND_UNAVAILABLE */
export async function changePolicies(
  deps: Deps,
  store: PolicyStore,
  input: PolicyInput,
  delivery: string = deliveryId(),
): Promise<PolicyResult> {
  const read = readActivation(input);
  if (read.kind === 'invalid') return rejected(read.reason);
  const asked = read.value;
  const { tenant, target } = asked;
  const [row] = await deps.db.query<{ c: Context }>('select actguard.activation_context($1, $2, $3, $4) as c', [
    tenant,
    target.role,
    asked.keyId,
    target.digest,
  ]);
  if (!row) throw new Error('the time is not known');
  const context = row.c;
  const reject = async (reason: string): Promise<PolicyResult> => {
    const refused = {
      tenant,
      target: policyTarget(target),
      envelope: asked.envelope,
      atMs: context.nowMs,
      reason,
      delivery,
    };
    if (context.key) await recordRefusedCommand(deps, refused);
    return rejected(reason);
  };
  const trust = trustOf(deps, context.nowMs);
  const verified = verifySignedCommand(asked.envelope, { tenant, target: policyTarget(target) }, context.key, trust);
  if (verified.kind === 'invalid') return reject(verified.reason);
  const { command, key } = verified.value;
  const found = await loosening(store, asked, context);
  if (typeof found === 'string') return reject(found);
  const second = context.proposals.find(
    ({ person, evidence }) => person !== key.person && stillHolds(deps, asked, evidence),
  );
  return use(deps, store, { ...asked, context, command, key, loosens: found, second }, delivery, reject);
}

async function use(
  deps: Deps,
  store: PolicyStore,
  v: Verified,
  delivery: string,
  reject: (reason: string) => Promise<PolicyResult>,
): Promise<PolicyResult> {
  const { tenant, target, context, command, key } = v;
  // roots stand in the configuration, not in the directory; the dev stack's own is its one person's
  const roots = tenant === EVERY_TENANT ? deps.roots.length - (deps.dev ? 1 : 0) : 0;
  const needsSecond = v.loosens.length > 0 && context.people + roots >= 2;
  const propose = needsSecond && v.second === undefined;
  const second = needsSecond ? v.second : undefined;
  const own: ActivationEvidence = {
    envelope: v.envelope,
    key: key.root ? null : context.key,
    atMs: context.nowMs,
    nonce: command.nonce,
  };
  const evidence = second ? [own, second.evidence] : [own];
  const people = second ? [key.person, second.person] : [key.person];
  const [used] = await deps.db.query<{ r: string }>('select actguard.activate_policies($1::jsonb) as r', [
    pgJson({
      tenant,
      role: target.role,
      digest: target.digest,
      replaces: v.replaces,
      nonce: command.nonce,
      target: policyTarget(target),
      person: key.person,
      keyId: key.keyId,
      keyTenant: context.key?.tenant ?? '',
      roles: key.roles,
      root: key.root === true,
      envelope: v.envelope,
      expMs: Date.parse(command.exp),
      delivery,
      reason: escapeHidden(command.reason),
      propose,
      second: second?.person ?? null,
      people,
      evidence,
      entries: [entryOf(v, propose, people, evidence)],
    }),
  ]);
  if (used?.r === 'proposed') return { kind: 'proposed', tenant, ...target, by: key.person, loosens: v.loosens };
  if (used?.r !== 'ok') return reject(REFUSALS[used?.r ?? ''] ?? 'the command could not be used');
  await store.refresh();
  return { kind: 'active', tenant, ...target, by: people, loosens: v.loosens };
}

/** Why the set loosens; a text: why it cannot be activated here. */
async function loosening(store: PolicyStore, asked: Asked, context: Context): Promise<readonly string[] | string> {
  const { role, digest } = asked.target;
  const inherited = asked.tenant === EVERY_TENANT ? null : context.everywhere;
  try {
    const after = await store.load(digest ?? inherited);
    if (role === 'shadow') return [];
    // what it says it replaces; whether that is still active is compared under the lock
    const before = await store.load(asked.replaces ?? inherited);
    return loosens(before.checked.policies, after.checked.policies);
  } catch (error) {
    if (!isActGuardError(error) || error.code === 'BACKEND_UNAVAILABLE') throw error;
    // what is replaced cannot be read any more: everything about the new one may be looser
    if (digest !== null && (await loads(store, digest))) return ['replaces a set that cannot be compared'];
    return error.message;
  }
}

async function loads(store: PolicyStore, digest: string): Promise<boolean> {
  return store.load(digest).then(
    () => true,
    () => false,
  );
}

function stillHolds(deps: Deps, asked: Asked, evidence: ActivationEvidence): boolean {
  return verifyActivation(deps, { tenant: asked.tenant, ...asked.target }, [evidence]).kind === 'ok';
}

function readActivation(input: unknown): Parsed<Asked> {
  return parsing(() => {
    const r = exactObject(input, ['v', 'kind', 'nonce', 'envelope'], 'the activation');
    if (r.v !== 1 || r.kind !== 'policies') return refuse('the activation is of an unknown version');
    hexOf(r.nonce, 'the nonce', 16);
    if (utf8Length(JSON.stringify(r.envelope ?? null)) > MAX_SIGNAL_BYTES) return refuse('the envelope is too large');
    const keyId = valueOf(signerOf(r.envelope, COMMAND_PAYLOAD_TYPE));
    const command = valueOf(parseCommand(valueOf(parseEnvelope(r.envelope, COMMAND_PAYLOAD_TYPE)).payload));
    if (command.verb !== 'activatePolicies') return refuse('the command activates nothing');
    const tenant = command.tenant === EVERY_TENANT ? EVERY_TENANT : parseName(command.tenant, 'tenant');
    const { replaces } = command.data;
    if (replaces !== null && typeof replaces !== 'string') return refuse('the command does not say what it replaces');
    return {
      envelope: r.envelope as Json,
      keyId,
      tenant,
      target: valueOf(parsePolicyTarget(command.target)),
      replaces,
    };
  });
}

function entryOf(
  v: Verified,
  propose: boolean,
  people: readonly string[],
  evidence: readonly ActivationEvidence[],
): EntryRow {
  const { command, key, context, target } = v;
  const data: JsonObject = {
    policy: target.digest,
    role: target.role,
    replaced: v.replaces,
    person: key.person,
    people: [...people],
    key: key.keyId,
    nonce: command.nonce,
    reason: escapeHidden(command.reason),
    loosens: v.loosens.slice(0, MAX_LISTED_LOOSENINGS),
    envelopesSha256: evidence.map(({ envelope }) => digestOf(envelope)),
    ...(key.dev ? { dev: true } : {}),
  };
  return makeEntry({
    kind: propose ? 'policy.proposed' : 'policy.activated',
    tenant: v.tenant,
    run: null,
    key: `policies:${command.nonce}`,
    atMs: context.nowMs,
    data,
    content: { envelopes: evidence.map(({ envelope }) => envelope) },
  });
}

function rejected(reason: string): PolicyResult {
  return { kind: 'rejected', reason: shownReason(reason) };
}
