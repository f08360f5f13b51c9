/**
 * Looking into an unknown outcome (EX5): the tool's own `reconcile` is asked what happened. "It will never happen"
 * counts only after the last possible send plus `settlesWithin`; until then, and on any nonsense, it stays unknown.
 */
import type { Reconciled, Tool } from '../define/types.ts';
import type { Json } from '../governance/json.ts';
import type { ClaimAnswer } from './claim.ts';
import type { CallShared, Prepared } from './prepared.ts';
import { withSecondNet } from './second-net.ts';
import { judge, type Verdict } from './judge.ts';
import type { SecretUse } from './inject.ts';
import type { Attempt, Ran } from './run-tool.ts';
import type { Finding } from './settle.ts';

type Claimed = Extract<ClaimAnswer, { kind: 'claimed' }>;
/** What came of asking; `silent`: no answer that could be read. */
type Answer = Reconciled | { readonly kind: 'silent'; readonly why: string };

/** Asks what became of a call that may have landed. `run` makes an attempt of a tool under the claim in hand. */
export async function reconcileCall(
  shared: CallShared,
  prepared: Prepared,
  claimed: Claimed,
  run: (tool: Tool) => Promise<Ran>,
): Promise<Finding> {
  const { tool } = prepared;
  const { reconcile } = tool.code;
  const open = (reason: string, said: Finding['said']): Finding => ({
    verdict: unknown(prepared, reason),
    resolved: null,
    landed: 'no',
    said,
    uses,
  });
  let uses: readonly SecretUse[] = [];
  if (!reconcile) return open(`nobody saw what became of ${tool.name}, and its receiver cannot be asked`, 'nothing');
  const asking = {
    ...tool,
    code: { ...tool.code, execute: reconcile },
    manifest: { ...tool.manifest, effect: 'read' as const },
  };
  const ran = await run(asking);
  uses = ran.uses;
  const answer = readAnswer(ran);
  const resolved = { resolvedBy: 'reconcile' };
  switch (answer.kind) {
    case 'happened': {
      const happened = { kind: 'returned', output: answer.result } as const;
      const verdict = judge(tool, happened, await withSecondNet(shared.secrets, happened));
      return { verdict: { ...verdict, breaker: 'none' }, resolved, landed: 'maybe', said: 'nothing', uses };
    }
    case 'neverWill': {
      const settledAtMs = (claimed.lastSendMs ?? claimed.nowMs) + tool.manifest.settlesWithinMs;
      if (claimed.nowMs < settledAtMs) {
        return open(`the receiver of ${tool.name} has not seen it; it could still arrive`, 'nothing');
      }
      const nothing = { nothingLeft: true, usedOther: false, onlyStatus: null };
      const error = new Error('the receiver says that it never happened');
      const verdict = judge(tool, { kind: 'threw', error, trace: nothing }, shared.secrets);
      return { verdict: { ...verdict, breaker: 'none' }, resolved, landed: 'no', said: 'nothing', uses };
    }
    case 'stillUnknown':
      return open(`the receiver of ${tool.name} cannot say yet whether it happened`, 'cannot-say');
    case 'silent': {
      const why = shared.secrets.text(answer.why);
      shared.deps.log('warn', `the receiver of ${tool.name} could not be asked`, { why });
      return open(`the receiver of ${tool.name} could not be asked: ${why}`, 'nothing');
    }
    default:
      return answer satisfies never;
  }
}

function readAnswer(attempt: Attempt): Answer {
  switch (attempt.kind) {
    case 'returned': {
      const said = attempt.output as { kind?: unknown; result?: Json } | null | undefined;
      if (said?.kind === 'happened' && said.result !== undefined) return { kind: 'happened', result: said.result };
      if (said?.kind === 'neverWill' || said?.kind === 'stillUnknown') return { kind: said.kind };
      return { kind: 'silent', why: '`reconcile` answered neither happened with a result, neverWill nor stillUnknown' };
    }
    case 'threw': {
      const { error } = attempt;
      return { kind: 'silent', why: `\`reconcile\` threw ${error instanceof Error ? error.message : String(error)}` };
    }
    case 'timeout':
    case 'cancelled':
    case 'lease-lost':
    case 'aborted':
    case 'not-started':
      return { kind: 'silent', why: `\`reconcile\` was stopped: ${attempt.kind}` };
    default:
      return attempt satisfies never;
  }
}

function unknown(prepared: Prepared, reason: string): Verdict {
  const spentMicros = prepared.tool.manifest.cost?.worstMicros ?? 0;
  return { state: 'unknown', result: null, failure: 'unknown', breaker: 'none', facts: [], spentMicros, reason };
}
