/** Ports on loopback: given ones must be free, others are found. */
import { createServer } from 'node:net';
import { ActGuardError } from '../governance/errors.ts';

/**
 * Below the ports that systems give to outgoing connections (32768 and up on Linux, 49152 on others): what is free when
 * it is chosen is still free when a server that takes seconds to start binds it.
 */
const FIRST_PORT = 20_000;
const PORTS = 12_000;
const ATTEMPTS = 50;

/**
 * A stretch of ports for every process, begun by its id and walked through: a chosen port is bound seconds later, and
 * until then neither this process nor one that starts beside it may be given the same one.
 */
const STRETCH = 97;
let walked = 0;

/** A free port on 127.0.0.1, another one at each call. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const candidate = FIRST_PORT + ((process.pid * STRETCH + walked++) % PORTS);
    const port = await listenOnce(candidate).catch(() => null);
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
