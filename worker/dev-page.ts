/** The approval page of a dev stack: on localhost, for passkeys that the stack's own administrator confirms. */
import { userInfo } from 'node:os';
import { devApprover } from '../client/dev-approver.ts';
import type { Gateway } from '../gateway/server.ts';
import { passkeysAt } from '../governance/webauthn.ts';
import type { DevFile } from './dev-file.ts';
import { runGateway } from './gateway.ts';

/** Starts it; null: there is nothing to show yet. @throws BACKEND_UNAVAILABLE when the port is taken */
export async function startDevPage(
  state: string,
  { temporal, postgres }: DevFile,
  port: number,
  say: (message: string) => void,
): Promise<{ readonly url: string; readonly page: Gateway } | null> {
  if (!temporal || !postgres) return null;
  const url = `http://localhost:${port}`;
  const { rootKeyId } = devApprover(state, userInfo().username, Date.now());
  const page = await runGateway({
    host: '127.0.0.1',
    port,
    temporal,
    databaseUrl: postgres.url,
    roots: [rootKeyId],
    dev: true,
    passkeys: passkeysAt(url),
    log: (level, message) => {
      if (level === 'error') say(`the approval page: ${message}`);
    },
  });
  return { url, page };
}
