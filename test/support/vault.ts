/**
 * A small server that speaks what we use of Vault's and OpenBao's API: AppRole login, renew-self, KV version 2. It is a
 * stand-in written from their documentation, not Vault itself (docs/credentials.md says so).
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeVault {
  readonly address: string;
  /** Path below `secret/data/` -> value. */
  readonly values: Map<string, string>;
  /** Requests as they came: `POST auth/approle/login`. */
  readonly asked: string[];
  /** Seconds of the leases that are given out. */
  leaseSeconds: number;
  renewable: boolean;
  /** Answers every request with this status; 0: never answers. */
  trouble: number | null;
  /** Takes every token away. */
  revokeAll(): void;
  close(): Promise<void>;
}

export async function fakeVault(role: { roleId: string; secretId: string }): Promise<FakeVault> {
  const tokens = new Set<string>();
  const vault: Omit<FakeVault, 'address' | 'close'> = {
    values: new Map(),
    asked: [],
    leaseSeconds: 3600,
    renewable: true,
    trouble: null,
    revokeAll: () => tokens.clear(),
  };
  const login = (body: string): [number, object] => {
    const { role_id, secret_id } = JSON.parse(body) as { role_id?: string; secret_id?: string };
    if (role_id !== role.roleId || secret_id !== role.secretId) return [400, { errors: ['invalid role or secret ID'] }];
    const token = `hvs.${randomUUID()}`;
    tokens.add(token);
    return [200, auth(token)];
  };
  const auth = (token: string) => ({
    auth: { client_token: token, lease_duration: vault.leaseSeconds, renewable: vault.renewable },
  });
  const answer = (request: IncomingMessage, body: string): [number, object] => {
    const path = (request.url ?? '').replace(/^\/v1\//, '');
    vault.asked.push(`${request.method ?? ''} ${path}`);
    if (vault.trouble !== null) return [vault.trouble, { errors: ['Vault is sealed'] }];
    if (path === 'auth/approle/login') return login(body);
    const token = String(request.headers['x-vault-token']);
    if (!tokens.has(token)) return [403, { errors: ['permission denied'] }];
    if (path === 'auth/token/renew-self') return [200, auth(token)];
    const value = vault.values.get(path.replace(/^secret\/data\//, ''));
    if (value === undefined) return [404, { errors: [] }];
    return [200, { data: { data: { value }, metadata: { version: 1 } } }];
  };
  const server = createServer((request, response: ServerResponse) => {
    let body = '';
    request.on('data', (part: Buffer) => (body += part.toString()));
    request.on('end', () => {
      const [status, json] = answer(request, body);
      if (status !== 0) response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return Object.assign(vault, {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
}
