/**
 * A recorded agent behind the real wire format: a local OpenAI-compatible server that replays turns, so that demo and
 * tests use the true HTTP path without a key. It says so wherever it is used; real models need `--real-model`.
 */
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';

/** One turn of a recorded agent: the first one that fits answers. */
export interface RecordedTurn {
  /** What the user's request looks like. */
  readonly user: RegExp;
  /** 1: the first answer, 2: after the first tool results … */
  readonly turn: number;
  /** Only when the last tool result holds this text. */
  readonly result?: RegExp;
  readonly text?: string;
  readonly toolCalls?: readonly { readonly name: string; readonly args: { readonly [key: string]: Json } }[];
}

/** A running server; `stop` it, or `await using`. */
export interface ModelServer extends AsyncDisposable {
  /** `http://127.0.0.1:port/v1` */
  readonly baseUrl: string;
  /** Requests so far: what was really sent. */
  requests(): number;
  stop(): Promise<void>;
}

interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
}

/** Starts the server. Unknown words get the last fallback turn. @throws CONFIG_INVALID when the replay is not installed */
export async function startModelServer(turns: readonly RecordedTurn[], port = 0): Promise<ModelServer> {
  const { LLMock } = await import('@copilotkit/aimock').catch((error: unknown) => {
    throw new ActGuardError('CONFIG_INVALID', 'the recorded model needs the optional package `@copilotkit/aimock`', {
      hint: 'npm install @copilotkit/aimock, or use a real model with --real-model',
      cause: error,
    });
  });
  const mock = new LLMock({ port, host: '127.0.0.1', logLevel: 'silent' } as ConstructorParameters<typeof LLMock>[0]);
  for (const [index, turn] of turns.entries()) {
    mock.on({ predicate: (request) => fits(turn, request.messages as readonly ChatMessage[]) }, (request) => {
      const calls = (turn.toolCalls ?? []).map((c, i) => ({
        id: `call_${index}_${i}`,
        name: c.name,
        arguments: JSON.stringify(c.args),
      }));
      const usage = usageOf(request, turn.toolCalls ? JSON.stringify(turn.toolCalls) : (turn.text ?? ''));
      return turn.toolCalls ? { toolCalls: calls, usage } : { content: turn.text ?? '', usage };
    });
  }
  await mock.start();
  return {
    baseUrl: `${mock.url}/v1`,
    requests: () => mock.getRequests().length,
    stop: () => mock.stop(),
    [Symbol.asyncDispose]: () => mock.stop(),
  };
}

/** What a model would report, near enough: a token for four characters, and a few for the framing. */
function usageOf(request: unknown, answer: string): { prompt_tokens: number; completion_tokens: number } {
  const tokens = (text: string): number => Math.ceil(text.length / 4) + 8;
  return { prompt_tokens: tokens(JSON.stringify(request)), completion_tokens: tokens(answer) };
}

function fits(turn: RecordedTurn, messages: readonly ChatMessage[]): boolean {
  const user = messages.findLast((m) => m.role === 'user');
  const answered = messages.filter((m) => m.role === 'assistant').length;
  if (answered !== turn.turn - 1 || !turn.user.test(textOf(user))) return false;
  return turn.result === undefined || turn.result.test(textOf(messages.findLast((m) => m.role === 'tool')));
}

function textOf(message: ChatMessage | undefined): string {
  return typeof message?.content === 'string' ? message.content : JSON.stringify(message?.content ?? '');
}
