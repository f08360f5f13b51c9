/** Ports on loopback: given ones must be free, others are found. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { ActGuardError } from '../governance/errors.ts';

/**
 * Below the ports that systems give to outgoing connections (32768 and up on Linux, 49152 on others): what is free when
 * it is chosen is still free when a server that takes seconds to start binds it.
 */
const FIRST_PORT = 20_000;
const PORTS = 12_000;
const ATTEMPTS = 50;

/** A free port on 127.0.0.1. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = await listenOnce(FIRST_PORT + randomInt(PORTS)).catch(() => null);
    if (port !== null) return port;
  }
  return listenOnce(0);
}

/**
 * The port to listen on: the `given` one, which must be free (else BACKEND_UNAVAILABLE naming it); otherwise the
 * `usual` one, or any free one where that is taken.
 */
export async function choosePort(what: string, given: number | undefined, usual: number): Promise<number> {
  if (given !== undefined && given !== 0) {
    return listenOnce(given).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be used (${error.code ?? 'unknown'})`;
      throw new ActGuardError('BACKEND_UNAVAILABLE', `port ${given} for ${what} ${why}`, {
        details: { port: given },
        hint: 'choose another port, or leave the option out to take a free one',
      });
    });
  }
  if (given === 0) return freePort();
  return listenOnce(usual).catch(() => freePort());
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port));
    });
  });
}
