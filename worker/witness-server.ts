/** The witness: an HTTP server with one door, add-checkpoint (C2SP tlog-witness 1.0.0); its own key, its own memory. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { KeySigner } from '../activities/key-signer.ts';
import { verifySignature } from '../activities/signatures.ts';
import { MAX_NOTE_BYTES } from '../governance/limits.ts';
import { type NoteKey, cosignNote, cosignedBytes, signatureLine } from '../governance/note.ts';
import { decideWitness, parseAddCheckpoint } from '../governance/witness.ts';
import type { WitnessMemory } from './witness-memory.ts';

const MAX_BODY_BYTES = 2 * MAX_NOTE_BYTES;
const REQUEST_TIMEOUT_MS = 10_000;

/** How a witness runs. */
export interface WitnessOptions {
  readonly signer: KeySigner;
  readonly memory: WitnessMemory;
  /** Keys of the logs that it watches; two of one name while a key rotates. */
  readonly logs: readonly NoteKey[];
  /** 127.0.0.1 unless told otherwise. */
  readonly host?: string;
  readonly port: number;
  /** Milliseconds since the epoch; default: the clock. */
  readonly nowMs?: () => number;
}

/** A running witness. */
export interface Witness {
  readonly url: string;
  stop(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

/** Starts a witness. @throws the system's error when the port is taken */
export async function startWitness(options: WitnessOptions): Promise<Witness> {
  const host = options.host ?? '127.0.0.1';
  // one request at a time: between looking and remembering nobody else may look
  let turn: Promise<unknown> = Promise.resolve();
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bodyOf(request);
      const answer = turn.then(() => answerTo(options, request, body));
      turn = answer.catch(() => undefined);
      send(response, await answer);
    })().catch(() => send(response, { status: 500, body: 'the witness cannot answer\n' }));
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, host, resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answerTo(options: WitnessOptions, request: IncomingMessage, body: string | null): Promise<Answer> {
  if (request.url !== '/add-checkpoint') return { status: 404, body: 'there is only /add-checkpoint\n' };
  if (request.method !== 'POST') return { status: 405, body: 'add-checkpoint is asked by POST\n' };
  if (body === null) return { status: 413, body: 'the request is too long\n' };
  const parsed = parseAddCheckpoint(body);
  if (parsed.kind === 'invalid') return { status: 400, body: `${parsed.reason}\n` };
  const { memory, signer, logs } = options;
  const decision = decideWitness(parsed.value, logs, memory.seen, verifySignature);
  switch (decision.kind) {
    case 'cosign': {
      const { checkpoint, text } = decision;
      memory.remember(checkpoint.origin, checkpoint); // first: what is signed is never forgotten
      const atSeconds = Math.floor((options.nowMs ?? Date.now)() / 1000);
      const signature = await signer.sign(cosignedBytes(text, atSeconds));
      return { status: 200, body: signatureLine(cosignNote(text, signer.key, atSeconds, () => signature)) };
    }
    case 'conflict':
      return { status: 409, body: `${decision.size}\n`, type: 'text/x.tlog.size' };
    case 'fork':
      return { status: 422, body: `${decision.reason}\n` };
    case 'unknown-log':
      return { status: 404, body: `${decision.reason}\n` };
    case 'unsigned':
      return { status: 403, body: `${decision.reason}\n` };
    case 'stale':
      return { status: 400, body: `${decision.reason}\n` };
    default:
      return decision satisfies never;
  }
}

/** The body as text; null: it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    length += (part as Buffer).length;
    if (length <= MAX_BODY_BYTES) parts.push(part as Buffer);
  }
  return length > MAX_BODY_BYTES ? null : Buffer.concat(parts).toString('utf8');
}

function send(response: ServerResponse, { status, body, type }: Answer): void {
  response.writeHead(status, { 'content-type': type ?? 'text/plain; charset=utf-8' });
  response.end(body);
}
