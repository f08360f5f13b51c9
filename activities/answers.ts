/** What a call answers without running its tool: its own earlier result, another call's, a refusal, an ask. */
import type { Denial } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { accountRefused } from './accounts.ts';
import { openAsk } from './approvals.ts';
import { callEntry } from './call-entries.ts';
import { claim, type ClaimAnswer } from './claim.ts';
import { resolveCredentials } from './credentials.ts';
import { FROZEN_ASK_MS } from '../governance/limits.ts';
import { appendEntries } from './ledger.ts';
import type { CallInfo, CallShared, Prepared } from './prepared.ts';
import { noteRepeated } from './outcome-provenance.ts';
import { sourcesOf } from './provenance-sources.ts';
import { doneResult, refusalOf } from './refusals.ts';
import { runClaimed } from './run-claimed.ts';
import type { CallToolInput, CallToolResult } from './types.ts';

/** This call's own row, where an earlier attempt left one; null when there is none. */
export async function ownCall(shared: CallShared, prepared: Prepared, info: CallInfo): Promise<CallToolResult | null> {
  const [row] = await shared.deps.db.query<{ state: string | null }>('select actguard.call_state($1, $2) as state', [
    prepared.claim.run,
    prepared.claim.call,
  ]);
  if (!row?.state) return null;
  const claimAskedAt = performance.now();
  const answer = await claim(shared.deps.db, prepared.claim);
  if (answer.kind === 'claimed') {
    const credentials = await resolveCredentials(
      prepared.tool.code.credentials,
      shared.deps.secrets,
      shared.secrets,
      prepared.grant.principal,
    );
    return runClaimed(shared, prepared, answer, credentials, claimAskedAt, info, prepared.frame.input as CallToolInput);
  }
  if (answer.kind === 'frozen') {
    // whatever that attempt did stands: a freeze does not make it known
    return row.state === 'retrying'
      ? answerOf(shared, prepared, answer, (denial) => Promise.resolve({ kind: 'denied', denial }), {})
      : {
          kind: 'unknown',
          reason: 'the run is frozen while the outcome of this call is not known',
          spentMicros: prepared.tool.manifest.cost?.worstMicros ?? 0,
          askAgainMs: FROZEN_ASK_MS,
        };
  }
  return answerOf(shared, prepared, answer, (denial) => Promise.resolve({ kind: 'denied', denial }), {});
}

/** Records a denial and answers it. */
export type Refuse = (denial: Denial, more?: JsonObject) => Promise<CallToolResult>;

/** An answer other than the claim itself, as the caller gets it. */
export async function answerOf(
  shared: CallShared,
  prepared: Prepared,
  answer: ClaimAnswer,
  refuse: Refuse,
  decided: JsonObject,
): Promise<CallToolResult | null> {
  if (answer.kind === 'own') return doneResult(answer.result, prepared, null);
  if (answer.kind === 'duplicate') await noteRepeated(shared, prepared, answer);
  if (answer.kind === 'duplicate' && answer.state === 'succeeded' && answer.result) {
    // an output that was not for the model is not for its repeat either: it gets the same answer (D2)
    const same = prepared.claim.key?.onDuplicate === 'return' || answer.result.kind === 'failed';
    if (same) {
      const of = `${answer.run}/${answer.call}`;
      await appendEntries(shared.deps.db, [callEntry(prepared.frame, 'call.repeated', 'repeated', { of })]);
      return doneResult(answer.result, prepared, `${answer.run}:${answer.call}`);
    }
  }
  const denial = refusalOf(answer, prepared, shared.deps);
  if (!denial) return null;
  if (answer.kind === 'budget') {
    const refused = accountRefused(answer, shared.deps.config.budgetWaitMs);
    return answer.wait ? refused : { ...refused, ...(await refuse(denial, decided)) };
  }
  // the workflow waits and asks again: not the last word on this call
  if (answer.kind === 'rate' && prepared.tool.manifest.rateLimit?.onLimit === 'wait') return { kind: 'denied', denial };
  return refuse(denial, decided);
}

/** Opens an ask after everything that stands before it in O1 was looked at; nothing is held. */
export async function ask(
  shared: CallShared,
  prepared: Prepared,
  gates: readonly string[],
  request: JsonObject,
  decided: JsonObject,
  facts: CallToolInput['facts'],
  refuse: Refuse,
): Promise<CallToolResult> {
  const { deps } = shared;
  const looked = await claim(deps.db, prepared.claim, true);
  if (looked.kind !== 'ok') {
    const earlier = await answerOf(shared, prepared, looked, refuse, decided);
    if (earlier) return earlier;
  }
  await appendEntries(deps.db, prepared.claim.before);
  const opened = await openAsk(deps, {
    frame: prepared.frame,
    tool: prepared.tool,
    args: prepared.args,
    argsDigest: prepared.claim.argsDigest,
    equal: (prepared.frame.input as CallToolInput).equal,
    gates,
    policy: prepared.policy,
    request,
    shadow: decided['shadow'],
    facts,
    provenance: await sourcesOf(deps, prepared),
    reserved: prepared.claim.reserved,
  });
  if (opened.kind === 'denied') return refuse(opened.denial, decided);
  return { kind: 'ask', ask: opened.ask };
}

/** An answer that the claim cannot give here. */
export function unreachable(answer: ClaimAnswer): never {
  throw new Error(`claim answered ${answer.kind} where it cannot`);
}
