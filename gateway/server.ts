/** Listens for the approval page: loopback unless told otherwise; TLS is a proxy's in front of it. */
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { serve } from '@hono/node-server';
import { ActGuardError } from '../governance/errors.ts';
import { makeApp } from './app.ts';
import type { GatewayDeps } from './deps.ts';

/** A header section is small: cookies of one name and what browsers send. */
const MAX_HEADER_BYTES = 16 * 1024;
const REQUEST_TIMEOUT_MS = 15_000;

/** A listening server. */
export interface Gateway {
  readonly port: number;
  /** Ends every connection, live pages too. */
  stop(): Promise<void>;
}

/** Starts it. @throws BACKEND_UNAVAILABLE when the port is taken */
export function startGateway(
  deps: GatewayDeps,
  where: { readonly host: string; readonly port: number },
): Promise<Gateway> {
  return new Promise((resolve, reject) => {
    const server = serve(
      {
        fetch: makeApp(deps).fetch,
        hostname: where.host,
        port: where.port,
        serverOptions: {
          maxHeaderSize: MAX_HEADER_BYTES,
          requestTimeout: REQUEST_TIMEOUT_MS,
          headersTimeout: REQUEST_TIMEOUT_MS,
        },
      },
      (info: AddressInfo) =>
        resolve({
          port: info.port,
          stop: () =>
            new Promise((stopped) => {
              server.close(() => stopped());
              server.closeAllConnections();
            }),
        }),
    ) as Server;
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new ActGuardError('BACKEND_UNAVAILABLE', `the approval page cannot listen on ${where.host}:${where.port}`, {
          details: { reason: error.code ?? error.message },
          hint: 'choose another port',
          cause: error,
        }),
      ),
    );
  });
}
