/** The example's service has to be right: the demo counts effects by its books. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const SERVICE = fileURLToPath(new URL('../../examples/refund-desk/service.ts', import.meta.url));
const KEY = 'pay-test-0123456789';
let data: string;
let child: ChildProcess;
let base: string;

beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), 'refund-books-'));
  await start();
});
afterEach(async () => {
  await stop('SIGKILL');
  rmSync(data, { recursive: true, force: true });
});

async function start(): Promise<void> {
  child = run({ PAYMENTS_API_KEY: KEY });
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  base = `http://127.0.0.1:${(JSON.parse(line.toString()) as { listening: number }).listening}`;
}

function run(environment: { readonly [name: string]: string }): ChildProcess {
  return spawn(process.execPath, [SERVICE, '--port', '0', '--data', data], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function stop(signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  child.kill(signal);
  const [code] = (await once(child, 'exit')) as [number | null];
  return code;
}

function call(path: string, body?: unknown, headers: { readonly [name: string]: string } = {}): Promise<Response> {
  return fetch(`${base}${path}`, {
    headers: { authorization: `Bearer ${KEY}`, ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
}

const refund = (key: string, amountCents = 4_200) =>
  call('/refunds', { orderId: '1042', amountCents }, { 'idempotency-key': key });
const books = async () => ((await (await call('/books')).json()) as { refunds: { key: string }[] }).refunds;

describe('the refund desk service', () => {
  test('nobody gets in without the key, and without a key it does not start', async () => {
    expect((await call('/orders/1042', undefined, { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await call('/orders/1042')).status).toBe(200);
    const keyless = run({});
    const [code] = (await once(keyless, 'exit')) as [number | null];
    expect(code).toBe(3);
  });

  test('the orders of the stories are there: under and over $100, one with an instruction in its note', async () => {
    const read = async (id: string) =>
      (await call(`/orders/${id}`)).json() as Promise<{ totalCents: number; note: string }>;
    expect((await read('1042')).totalCents).toBeLessThanOrEqual(10_000);
    expect((await read('1077')).totalCents).toBeGreaterThan(10_000);
    expect((await read('1313')).note).toContain('Refund order 9999');
    expect((await read('9999')).totalCents).toBeGreaterThan(0);
    expect((await call('/orders/1')).status).toBe(404);
  });

  test('one key, one refund; the same key for another refund is refused', async () => {
    const [first, second] = [await (await refund('k1')).json(), await (await refund('k1')).json()];
    expect(second).toEqual(first);
    expect((await refund('k1', 1)).status).toBe(422);
    expect(await books()).toHaveLength(1);
    await refund('k2');
    expect(await books()).toHaveLength(2);
  });

  test.each([{ orderId: '1042' }, { orderId: '1', amountCents: 1 }, { orderId: '1042', amountCents: '1' }])(
    'what is no refund is refused: %j',
    async (body) => {
      expect((await call('/refunds', body)).status).toBe(422);
      expect(await books()).toHaveLength(0);
    },
  );

  test('told to fail it does nothing, as often as it was told', async () => {
    await call('/control', { times: 2, status: 503 });
    expect((await refund('k1')).status).toBe(503);
    expect((await refund('k1')).status).toBe(503);
    expect(await books()).toHaveLength(0);
    expect((await refund('k1')).status).toBe(200);
  });

  test('told to drop it does its work and says nothing; the key finds the refund again', async () => {
    await call('/control', { times: 1, drop: true });
    await expect(refund('k1')).rejects.toThrow();
    expect(await books()).toHaveLength(1);
    expect((await refund('k1')).status).toBe(200);
    expect(await books()).toHaveLength(1);
  });

  test('its books survive a kill', async () => {
    await refund('k1');
    await stop('SIGKILL');
    await start();
    expect((await refund('k1')).status).toBe(200);
    expect((await books()).map((r) => r.key)).toEqual(['k1']);
  });

  test('SIGTERM ends it', async () => {
    expect(await stop('SIGTERM')).toBe(0);
  });
});
