/**
 * What lies between a worker and its servers: TCP proxies that see where in a call it is, and hold, drop or let pass. The
 * shipped code knows nothing of them.
 */
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { RECEIVERS, type Receiver } from './config.ts';

/** Where in a call something is seen, in the order of a call. */
export const POINTS = [
  'before-claim',
  'after-claim',
  'during-request',
  'after-effect',
  'before-outcome',
  'after-outcome',
] as const;
export type Point = (typeof POINTS)[number];

/** Told at each point, before the bytes go on; answers whether they do. */
export type AtPoint = (point: Point, worker: number, receiver: Receiver) => Promise<'pass' | 'drop'>;

export interface Proxy {
  readonly port: number;
  close(): void;
}

/** To Postgres: claims and outcomes are seen as they are asked and answered. */
export function postgresProxy(target: number, worker: number, at: AtPoint): Promise<Proxy> {
  return proxy(target, () => {
    let answerIs: { readonly point: Point; readonly receiver: Receiver } | null = null;
    return {
      async up(text) {
        const claims = text.includes('actguard.claim(') || text.includes('\0claim\0');
        if (!claims && !text.includes('actguard.outcome(') && !text.includes('\0outcome\0')) return 'pass';
        const receiver = receiverIn(text);
        if (!receiver) return 'pass';
        answerIs = { point: claims ? 'after-claim' : 'after-outcome', receiver };
        return at(claims ? 'before-claim' : 'before-outcome', worker, receiver);
      },
      async down() {
        const seen = answerIs;
        answerIs = null;
        return seen ? at(seen.point, worker, seen.receiver) : 'pass';
      },
    };
  });
}

/** To the payment service: refunds are seen as they are asked and answered. */
export function serviceProxy(target: number, worker: number, at: AtPoint): Promise<Proxy> {
  return proxy(target, () => {
    let asked: Receiver | null = null;
    return {
      async up(text) {
        if (!text.startsWith('POST /refunds')) return 'pass';
        asked = RECEIVERS.find((r) => text.toLowerCase().includes(`x-receiver: ${r}`)) ?? null;
        return asked ? at('during-request', worker, asked) : 'pass';
      },
      async down() {
        const seen = asked;
        asked = null;
        return seen ? at('after-effect', worker, seen) : 'pass';
      },
    };
  });
}

function receiverIn(text: string): Receiver | null {
  return RECEIVERS.find((r) => text.includes(`payments.${r}`)) ?? null;
}

interface Watch {
  up(text: string): Promise<'pass' | 'drop'>;
  down(text: string): Promise<'pass' | 'drop'>;
}

async function proxy(target: number, watch: () => Watch): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    const both = [client, upstream];
    const end = (): void => both.forEach((s) => s.destroy());
    for (const socket of both) {
      sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    const { up, down } = watch();
    forward(client, upstream, up, end);
    forward(upstream, client, down, end);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** In order: what is held holds what comes after it. */
function forward(from: Socket, to: Socket, look: (text: string) => Promise<'pass' | 'drop'>, end: () => void): void {
  let last = Promise.resolve();
  from.on('data', (part: Buffer) => {
    last = last.then(async () => {
      if ((await look(part.toString('latin1'))) === 'pass') to.write(part);
      else end();
    });
  });
}
