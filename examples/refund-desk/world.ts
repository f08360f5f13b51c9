/** The world around the refund desk: the payment service as its own process, and the recorded model. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startModelServer, type ModelServer } from '../../worker/model-server.ts';
import { RECORDED_AGENT } from './recorded-agent.ts';

/** The service's key: it exists on this machine only. */
export const SERVICE_KEY = 'example-payments-key-0001';

export interface Refund {
  readonly refundId: string;
  readonly orderId: string;
  readonly amountCents: number;
}

export interface World {
  readonly serviceUrl: string;
  readonly model: ModelServer;
  /** Every refund that really happened. */
  books(): Promise<readonly Refund[]>;
  /** Tells the service what to do with its next requests. */
  control(what: { times: number; status?: number; delayMs?: number; drop?: boolean; holdMs?: number }): Promise<void>;
  stop(): Promise<void>;
}

/** Starts both. `data`: where the books lie. */
export async function startWorld(data: string): Promise<World> {
  const service = await startService(data);
  const model = await startModelServer(RECORDED_AGENT);
  const headers = { authorization: `Bearer ${SERVICE_KEY}`, 'content-type': 'application/json' };
  return {
    serviceUrl: service.url,
    model,
    async books() {
      const response = await fetch(`${service.url}/books`, { headers });
      return ((await response.json()) as { refunds: Refund[] }).refunds;
    },
    async control(what) {
      await fetch(`${service.url}/control`, { method: 'POST', headers, body: JSON.stringify(what) });
    },
    async stop() {
      await model.stop();
      await new Promise<void>((resolve) => {
        if (service.child.exitCode !== null) return resolve();
        service.child.once('exit', () => resolve());
        service.child.kill('SIGTERM');
      });
    },
  };
}

/** What a worker needs to find them. */
export function worldEnvironment(world: World): { readonly [name: string]: string } {
  return {
    REFUND_SERVICE_URL: world.serviceUrl,
    PAYMENTS_API_KEY: SERVICE_KEY,
    ACTGUARD_MODEL_REPLAY_URL: world.model.baseUrl,
  };
}

async function startService(data: string): Promise<{ url: string; child: ChildProcess }> {
  const script = fileURLToPath(new URL('./service.ts', import.meta.url));
  const child = spawn(process.execPath, [script, '--port', '0', '--data', data], {
    env: { ...process.env, PAYMENTS_API_KEY: SERVICE_KEY },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // a killed parent takes its service along
  process.once('exit', () => child.kill('SIGKILL'));
  for await (const line of createInterface({ input: child.stdout })) {
    const { listening } = JSON.parse(line) as { listening: number };
    return { url: `http://127.0.0.1:${listening}`, child };
  }
  throw new Error('the payment service did not start');
}
