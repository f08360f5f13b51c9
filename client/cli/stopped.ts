/** Ctrl-C and SIGTERM, for commands that run until they are told to stop. */

/**
 * Resolves when this process is asked to stop. Call it before anything says that it is ready: whoever reads that may ask at once.
 *
 * @example const stop = stopped(); const server = await start(); await stop; await server.close();
 */
export function stopped(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
  });
}
