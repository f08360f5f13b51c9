/** A provider on loopback that answers what the test says, over the real wire format. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Seen {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: { readonly [key: string]: unknown };
}

export interface Provider {
  readonly baseUrl: string;
  readonly port: number;
  /** Every request that arrived. */
  readonly seen: Seen[];
  /** What the next requests get. */
  answer: (seen: Seen, response: ServerResponse) => void;
  stop(): Promise<void>;
}

export async function startProvider(): Promise<Provider> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    void read(request).then((text) => {
      const one: Seen = {
        path: request.url ?? '',
        headers: request.headers,
        text,
        body: text === '' ? {} : (JSON.parse(text) as Seen['body']),
      };
      seen.push(one);
      provider.answer(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const provider: Provider = {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    port,
    seen,
    answer: (_seen, response) => json(response, 200, chat({ text: 'hello' })),
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return provider;
}

export function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

export const USAGE = { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 };

/** A chat completion as OpenAI writes it. */
export function chat(more: {
  text?: string | null;
  calls?: readonly { id: string; name: string; args: string }[];
  usage?: unknown;
}): unknown {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_764_000_000,
    model: 'm',
    choices: [
      {
        index: 0,
        finish_reason: more.calls ? 'tool_calls' : 'stop',
        message: {
          role: 'assistant',
          content: more.text ?? null,
          ...(more.calls
            ? {
                tool_calls: more.calls.map((c) => ({
                  id: c.id,
                  type: 'function',
                  function: { name: c.name, arguments: c.args },
                })),
              }
            : {}),
        },
      },
    ],
    ...('usage' in more ? (more.usage === undefined ? {} : { usage: more.usage }) : { usage: USAGE }),
  };
}

async function read(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

/** A chat completion that is streamed by hand. */
export interface StreamedChat {
  text(more: string): void;
  call(id: string, name: string, args: string): void;
  /** Ends it as OpenAI does: the reason, the usage, the mark. */
  end(usage?: unknown): void;
  /** Cuts the connection. */
  destroy(): void;
  /** Ends the answer in its middle, politely. */
  leave(): void;
}

/** Begins a streamed answer. */
export function streamed(response: ServerResponse): StreamedChat {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (more: object): void => {
    const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1_764_000_000, model: 'm', ...more };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  const delta = (one: object): void => send({ choices: [{ index: 0, delta: one }] });
  let called = false;
  return {
    text: (content) => delta({ content }),
    call: (id, name, args) => {
      called = true;
      delta({ tool_calls: [{ index: 0, id, type: 'function', function: { name, arguments: args } }] });
    },
    end: (usage) => {
      send({ choices: [{ index: 0, delta: {}, finish_reason: called ? 'tool_calls' : 'stop' }] });
      if (usage !== undefined) send({ choices: [], usage });
      response.end('data: [DONE]\n\n');
    },
    destroy: () => void response.destroy(),
    leave: () => void response.end(),
  };
}
