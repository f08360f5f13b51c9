/** The approval page as a process of its own: `actguard gateway`, and a part of `actguard dev`. */
import type { Client, ConnectionOptions } from '@temporalio/client';
import { WORKER_ROLE, connectDatabase } from '../activities/postgres.ts';
import type { Deps } from '../activities/deps.ts';
import { submitAnswer } from '../client/check-answer.ts';
import { openClient, type Target } from '../client/connection.ts';
import { keysAt, payloadKeysFile } from '../client/data-converter.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import { readPageFiles } from '../gateway/modules.ts';
import { type Gateway, startGateway } from '../gateway/server.ts';

const LOOK_EVERY_MS = 1_000;

/** Where the page listens and what it reaches. */
export interface GatewayOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly temporal: ConnectionOptions & { readonly namespace: string };
  readonly databaseUrl: string;
  /** File of the keys that payloads and content are encrypted with; default: ACTGUARD_PAYLOAD_KEYS. */
  readonly payloadKeys?: string;
  /** Fingerprints of the administrators' keys. */
  readonly roots: readonly string[];
  readonly dev: boolean;
  readonly passkeys: RelyingParty;
  readonly log: Deps['log'];
  /** Milliseconds between looks at the database for live pages; default 1 s. */
  readonly lookEveryMs?: number;
}

export { requirePasskeys } from '../gateway/app.ts';
export { jsonLog } from './worker.ts';

/** Starts the page. @throws BACKEND_UNAVAILABLE */
export async function runGateway(options: GatewayOptions): Promise<Gateway> {
  const db = connectDatabase(options.databaseUrl, {
    ...{ role: WORKER_ROLE, max: 6, applicationName: 'actguard-gateway' },
    keys: keysAt(options.payloadKeys ?? payloadKeysFile()),
  });
  // connected when the first answer is sent: reading needs no Temporal
  let client: Promise<Client> | undefined;
  const connected = () =>
    (client ??= openClient(targetOf(options)).catch((cause: unknown) => {
      client = undefined;
      throw new ActGuardError('BACKEND_UNAVAILABLE', 'the run cannot be reached; nothing was sent', { cause });
    }));
  try {
    const gateway = await startGateway(
      {
        db,
        submit: async (approvalId, envelope) => {
          const { roots, passkeys } = options;
          const verified = await submitAnswer(db, await connected(), approvalId, envelope, {
            roots,
            passkeys,
          });
          return { person: verified.key.person };
        },
        roots: options.roots,
        dev: options.dev,
        passkeys: options.passkeys,
        files: readPageFiles(),
        log: options.log,
        now: () => Date.now(),
        lookEveryMs: options.lookEveryMs ?? LOOK_EVERY_MS,
      },
      options,
    );
    return {
      port: gateway.port,
      stop: async () => {
        await gateway.stop();
        await (await client?.catch(() => undefined))?.connection.close();
        await db.end();
      },
    };
  } catch (error) {
    await db.end();
    throw error;
  }
}

function targetOf({ temporal: { namespace, ...connection }, databaseUrl, payloadKeys }: GatewayOptions): Target {
  const place = { connection, namespace, databaseUrl, ui: null, stateDirectory: null };
  return { ...place, payloadKeys: payloadKeys ?? payloadKeysFile() };
}
