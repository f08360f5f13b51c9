/** A session's tools as the AI SDK takes them: what is refused, failed or asked of a person is an answer for the model. */
import type { ToolSet } from 'ai';
import type { CallResult } from '../governance/call.ts';
import type { Json } from '../governance/json.ts';
import type { OfferedTool } from '../governance/tool.ts';
import type { Session } from './session.ts';

const LONGEST_POLL_MS = 10_000;

/** How tools answer. */
export interface AiToolsOptions {
  /** Wait until people have answered. Default: the model is told that somebody is asked, and goes on. */
  readonly waitForPeople?: boolean;
}

/** Tools for `generateText` and `streamText`; each call goes through its guards, in ActGuard's worker. */
export function aiTools(
  session: Pick<Session, 'call' | 'outcome'>,
  tools: readonly OfferedTool[],
  options: AiToolsOptions = {},
): ToolSet {
  return Object.fromEntries(
    tools.map(({ name, modelName, description, inputJsonSchema }) => [
      modelName,
      {
        description,
        // the worker judges arguments: a refusal is recorded, and the model reads why
        inputSchema: asSent(inputJsonSchema),
        execute: (args: unknown, { abortSignal }: { abortSignal?: AbortSignal }) =>
          run(session, name, args, options.waitForPeople ?? false, abortSignal),
      },
    ]),
  ) as ToolSet;
}

/** A Standard JSON Schema: every version of the AI SDK that we know reads it, and none has to be loaded here. */
function asSent(schema: OfferedTool['inputJsonSchema']) {
  const written = (): Record<string, unknown> => structuredClone(schema) as Record<string, unknown>;
  return {
    '~standard': {
      version: 1 as const,
      vendor: 'actguard',
      validate: (value: unknown) => ({ value }),
      jsonSchema: { input: written, output: written },
    },
  };
}

async function run(
  session: Pick<Session, 'call' | 'outcome'>,
  tool: string,
  args: unknown,
  waitForPeople: boolean,
  signal?: AbortSignal,
): Promise<Json> {
  let result = await session.call(tool, args);
  const { callId } = result;
  const waits = (): boolean => result.kind === 'pending' && (waitForPeople || result.approvalId === undefined);
  for (let pauseMs = 250; waits(); pauseMs = Math.min(pauseMs * 1.5, LONGEST_POLL_MS)) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    signal?.throwIfAborted();
    result = await session.outcome(callId);
  }
  return shown(result);
}

/** A result as a model reads it: the same shapes that `agentRun` shows. */
function shown(result: CallResult): Json {
  switch (result.kind) {
    case 'done':
      return result.output;
    case 'denied':
      return { error: { ...result.denial } };
    case 'pending': {
      const hint = 'tell the user that somebody was asked; do not call it again';
      const reason = 'a person has to say yes first';
      return { pending: { reason, hint, callId: result.callId, approvalId: result.approvalId ?? null } };
    }
    case 'failed': {
      const hint = 'decide whether to try something else or to tell the user';
      return { error: { code: result.error.code, reason: result.error.message, hint } };
    }
    case 'unknown': {
      const reason = 'nobody knows whether this happened';
      return { error: { code: 'OUTCOME_UNKNOWN', reason, hint: 'do not try it again' } };
    }
    default:
      return result satisfies never;
  }
}
