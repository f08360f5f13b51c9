/** Answers a question: what happened to a call whose outcome is unknown. The command was verified before this. */
import type { Json, JsonObject } from '../governance/json.ts';
import { randomUUID } from 'node:crypto';
import { MAX_ERROR_CHARS } from '../governance/limits.ts';
import { resultBytes } from '../governance/text.ts';
import type { Tool } from '../define/types.ts';
import { callEntry } from './call-entries.ts';
import type { CallShared } from './prepared.ts';
import type { StoredResult } from './claim.ts';
import { pgJson } from './pg-json.ts';
import { rowsOfOutcome } from './provenance.ts';
import type { VerifyCommandInput, VerifyCommandResult } from './types.ts';

type Accepted = Extract<VerifyCommandResult, { kind: 'accepted' }>;
type Answer =
  | { kind: 'ok' | 'not_found' }
  | { kind: 'busy' }
  | { kind: 'known'; state: string }
  | { kind: 'early'; waitMs: number };

/** Writes what a person found out; "did not happen" is refused before the call can no longer land (design, Unknown outcomes). */
export async function applyResolve(
  shared: CallShared,
  input: VerifyCommandInput,
  command: Accepted,
  workflowId: string,
): Promise<VerifyCommandResult> {
  const { data } = command;
  const call = data['call'];
  const happened = data['happened'];
  if (typeof call !== 'string' || typeof happened !== 'boolean') {
    return { kind: 'rejected', reason: 'a resolve names its call and whether it happened' };
  }
  const grant = await shared.grants.of(input.run, workflowId);
  const [row] = await shared.deps.db.query<{ c: { seq: number; tool: string } | null }>(
    'select actguard.call_brief($1, $2) as c',
    [input.run, call],
  );
  if (!row?.c) return { kind: 'rejected', reason: 'there is no such call' };
  const tool = shared.tools.get(row.c.tool);
  const output = happened ? readOutput(shared, tool, (data['result'] ?? null) as Json) : null;
  if (output && 'problem' in output) return { kind: 'rejected', reason: output.problem };
  const result: StoredResult = output
    ? {
        kind: 'done',
        output: output.value,
        spentMicros: tool?.manifest.cost?.worstMicros ?? 0,
        bytes: resultBytes(output.value),
      }
    : {
        kind: 'failed',
        error: {
          code: 'TOOL_FAILED',
          message: `${row.c.tool} did not happen: a person looked`,
          details: { tool: row.c.tool },
        },
        spentMicros: 0,
        bytes: 0,
      };
  const frame = { input: { run: input.run, call, seq: row.c.seq, tool: row.c.tool }, grant, dev: shared.deps.dev };
  const resolved: JsonObject = { by: command.person, happened, reason: command.reason };
  const [answered] = await shared.deps.db.query<{ a: Answer }>('select actguard.resolve_call($1::jsonb) as a', [
    pgJson({
      run: input.run,
      call,
      state: happened ? 'succeeded' : 'failed',
      token: randomUUID(),
      timeoutMs: tool?.manifest.timeoutMs ?? 0,
      result: shared.deps.db.content.seal('result', grant.principal.tenant, result),
      resolved,
      // a person writes down what came from outside: it is worth what the tool's output is worth
      provenance:
        tool && result.output !== undefined
          ? rowsOfOutcome(grant, input.run, tool, null, { output: result.output }, 'user')
          : [],
      entries: [
        callEntry(frame, 'call.resolved', 'resolved', { happened, resolvedBy: command.person, reason: command.reason }),
      ],
    }),
  ]);
  switch (answered?.a.kind) {
    case 'ok':
      return command;
    case 'known':
      return { kind: 'rejected', reason: `the outcome is known: ${answered.a.state}` };
    case 'early':
      return {
        kind: 'rejected',
        reason: `it could still land; "did not happen" can be said in ${Math.ceil(answered.a.waitMs / 1000)} s`,
      };
    case 'busy':
      return { kind: 'rejected', reason: 'the call is still under way' };
    default:
      return { kind: 'rejected', reason: 'there is no such call' };
  }
}

/** What a person wrote down, as the tool would have answered it; a tool that no worker has any more takes everything. */
function readOutput(shared: CallShared, tool: Tool | undefined, written: Json): { value: Json } | { problem: string } {
  try {
    return { value: shared.secrets.json((tool ? tool.code.parseOutput(written) : written) as Json) };
  } catch (error) {
    const why = error instanceof Error ? shared.secrets.cut(error.message, MAX_ERROR_CHARS) : '';
    return { problem: `the result is none of ${tool?.name ?? 'the tool'}: ${why}` };
  }
}
