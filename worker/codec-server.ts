/**
 * Decodes payloads for Temporal's Web UI (its "codec server"): POST /decode with `{ payloads: [{ metadata, data }] }`,
 * metadata and data in base64. It opens whatever it is shown, so it wants a token, listens on loopback, decodes nothing
 * that it could not record (`codec.decoded`), and never encodes.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Payload } from '@temporalio/common';
import { appendEntries } from '../activities/ledger.ts';
import type { Database } from '../activities/deps.ts';
import { PayloadCipher, keyIdsOf } from '../activities/payload-codec.ts';
import type { PayloadKeys } from '../activities/payload-keys.ts';
import { makeEntry } from '../governance/entry.ts';
import { EVERY_TENANT } from '../governance/freeze.ts';
import { MAX_CODEC_BODY_BYTES, MAX_CODEC_PAYLOADS } from '../governance/limits.ts';

/** How to run it. */
export interface CodecServerOptions {
  readonly keys: PayloadKeys;
  /** Where uses are recorded. */
  readonly db: Pick<Database, 'query'>;
  /** At least 16 characters; sent as `Authorization: Bearer`, or as the first part of the path. */
  readonly token: string;
  /** The Web UI's origin, e.g. `http://127.0.0.1:8233`. */
  readonly origin: string;
  /** Default: loopback. */
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
}

/** A running codec server. */
export interface CodecServer {
  readonly address: string;
  close(): Promise<void>;
}

/** Starts it. @throws the system's error when the port is taken */
export async function startCodecServer(options: CodecServerOptions): Promise<CodecServer> {
  const cipher = new PayloadCipher(options.keys);
  const server = createServer((request, response) => {
    answer(options, cipher, request, response).catch(() => end(response, 503, { error: 'not recorded, not decoded' }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host ?? '127.0.0.1', resolve);
  });
  const { port, address, family } = server.address() as AddressInfo;
  return {
    address: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function answer(
  options: CodecServerOptions,
  cipher: PayloadCipher,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('access-control-allow-origin', options.origin);
  response.setHeader('access-control-allow-headers', 'authorization, content-type, x-namespace');
  response.setHeader('access-control-allow-methods', 'POST');
  response.setHeader('vary', 'origin');
  response.setHeader('cache-control', 'no-store');
  if (request.method === 'OPTIONS') return end(response, 204, null);
  const [, first = '', second] = (request.url ?? '/').split('?')[0]?.split('/') ?? [];
  const given = second === undefined ? bearerOf(request) : first;
  if (!sameText(given, options.token)) return end(response, 401, { error: 'a token is needed' });
  if (request.method !== 'POST' || (second ?? first) !== 'decode') return end(response, 404, { error: 'POST /decode' });
  const payloads = readPayloads(await readBody(request));
  if (payloads === null) return end(response, 400, { error: 'no payloads that can be read' });
  await record(options, payloads, String(request.headers['x-namespace'] ?? ''));
  const opened = await cipher.decode(payloads);
  end(response, 200, { payloads: opened.map(toJson) });
}

/** Before anything is opened: an entry of each tenant whose payloads were asked for. */
async function record({ keys, db }: CodecServerOptions, payloads: Payload[], namespace: string): Promise<void> {
  const ids = keyIdsOf(payloads).filter((id) => keys.byId(id) !== undefined);
  const tenants = new Set(ids.map((id) => keys.byId(id)?.tenant ?? EVERY_TENANT));
  const entries = [...tenants].map((tenant) =>
    makeEntry({
      kind: 'codec.decoded',
      tenant,
      run: null,
      key: `codec:${randomBytes(12).toString('hex')}`,
      atMs: Date.now(),
      data: {
        payloads: payloads.length,
        keys: ids.filter((id) => (keys.byId(id)?.tenant ?? EVERY_TENANT) === tenant),
        namespace: /^[\w.-]{1,100}$/.test(namespace) ? namespace : '',
      },
    }),
  );
  await appendEntries(db as Database, entries);
}

function readPayloads(text: string | null): Payload[] | null {
  if (text === null) return null;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return null;
  }
  const list = (body as { payloads?: unknown } | null)?.payloads;
  if (!Array.isArray(list) || list.length > MAX_CODEC_PAYLOADS) return null;
  const payloads = (list as unknown[]).map(readPayload).filter((payload) => payload !== null);
  return payloads.length === list.length ? payloads : null;
}

function readPayload(value: unknown): Payload | null {
  if (typeof value !== 'object' || value === null) return null;
  const { metadata = {}, data = '' } = value as { metadata?: unknown; data?: unknown };
  if (typeof metadata !== 'object' || metadata === null || typeof data !== 'string') return null;
  const fields = Object.entries(metadata as { [name: string]: unknown });
  if (fields.some(([, text]) => typeof text !== 'string')) return null;
  return {
    metadata: Object.fromEntries(fields.map(([name, text]) => [name, Buffer.from(text as string, 'base64')])),
    data: Buffer.from(data, 'base64'),
  };
}

function toJson({ metadata, data }: Payload): object {
  const fields = Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString('base64')]);
  return { metadata: Object.fromEntries(fields) as object, data: Buffer.from(data ?? []).toString('base64') };
}

/** null: too large. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += (part as Buffer).length;
    if (size > MAX_CODEC_BODY_BYTES) return null;
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString('utf8');
}

function bearerOf(request: IncomingMessage): string {
  return /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
}

function sameText(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function end(response: ServerResponse, status: number, body: object | null): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === null ? undefined : JSON.stringify(body));
}
