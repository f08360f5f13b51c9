/** One attempt of a tool: its timeout, its cancellation, its lease, and what can be known of it afterwards. */
import type { Tool, ToolContext } from '../define/types.ts';
import { HEARTBEAT_TIMEOUT_MS, LEASE_MS, LEASE_RENEW_MS } from '../governance/limits.ts';
import type { Json } from '../governance/json.ts';
import type { Renewal } from './claim.ts';
import type { Credential } from './credentials.ts';
import { guardedFetch, nothingLeft, type Traffic } from './guarded-fetch.ts';
import type { SecretUse } from './inject.ts';
import type { Network } from './network.ts';
import { revealer } from './reveal.ts';
import type { SecretSet } from './scrub.ts';
import type { AttemptTransaction } from './transaction.ts';
import { watching, type Watched } from './watch-sockets.ts';

/** How an attempt ended. */
export type Attempt =
  | { readonly kind: 'returned'; readonly output: unknown }
  | { readonly kind: 'threw'; readonly error: unknown; readonly trace: Trace }
  | { readonly kind: 'timeout' | 'cancelled' | 'lease-lost' | 'aborted'; readonly trace: Trace }
  /** Its lease was over before it began: the tool did not run. */
  | { readonly kind: 'not-started' };

/** What the attempt did on the network, as far as it was seen. */
export interface Trace {
  /** Nothing can have reached a receiver. */
  readonly nothingLeft: boolean;
  /** It used sockets of its own: what they did cannot be known. */
  readonly usedOther: boolean;
  /** The status of the one request that went out; null: none, several, or no answer. */
  readonly onlyStatus: number | null;
}

export interface AttemptOptions {
  readonly tool: Tool;
  readonly args: Json;
  readonly identity: {
    readonly run: string;
    readonly call: string;
    readonly user: string;
    readonly tenant: string;
    readonly agent: string;
  };
  readonly idempotencyKey: string;
  readonly credentials: readonly Credential[];
  readonly network: Network;
  readonly known: SecretSet;
  /** Writes down that a secret is given to the tool's own code; not given when it fails. */
  readonly recordReveal: (name: string) => Promise<void>;
  /** Monotonic time before the claim was asked for: its lease cannot end earlier than this plus LEASE_MS. */
  readonly claimAskedAt: number;
  /** Renews the lease on the database's clock. */
  readonly renew: () => Promise<Renewal>;
  /** Where `ctx.transaction` writes. */
  readonly transaction: AttemptTransaction;
  readonly heartbeat: (progress?: Json) => void;
  /** Temporal's cancellation. */
  readonly cancelled: AbortSignal;
  readonly log: (message: string, data?: Json) => void;
}

/** How an attempt ended, and which secrets went out with it. */
export type Ran = Attempt & { readonly uses: readonly SecretUse[] };

/** Runs the tool once. Never throws. */
export async function runTool(options: AttemptOptions): Promise<Ran> {
  const { tool } = options;
  const traffic: Traffic = { sent: 0, neverLeft: 0, lastStatus: null, answered: 0, uses: [] };
  const own: Watched = { ownTraffic: false };
  let finished = false;
  const abort = new AbortController();
  let leaseEndsAt = options.claimAskedAt + LEASE_MS;
  const receiver = tool.manifest.idempotency?.receiver;
  const ctx: ToolContext = {
    ...options.identity,
    signal: abort.signal,
    idempotencyKey: options.idempotencyKey,
    reveal: revealer(options.credentials, own, options.recordReveal),
    fetch: guardedFetch({
      readsOnly: tool.manifest.transactional === true,
      network: options.network,
      known: options.known,
      credentials: options.credentials,
      keyHeader: receiver ? { header: receiver.header, value: options.idempotencyKey } : null,
      signal: abort.signal,
      // a tool that answered may send nothing more
      notAfter: () => (finished ? 0 : leaseEndsAt),
      traffic,
    }),
    transaction: options.transaction.run,
    progress: (data) => {
      progress = data;
      options.heartbeat(data);
    },
    log: options.log,
  };
  let progress: Json | undefined;
  const trace = (): Trace => ({
    nothingLeft: !own.ownTraffic && nothingLeft(traffic),
    usedOther: own.ownTraffic,
    onlyStatus: !own.ownTraffic && traffic.sent === 1 && traffic.answered === 1 ? traffic.lastStatus : null,
  });
  // an answer to the claim that was on its way for a whole lease: somebody else may have taken it over
  if (performance.now() >= leaseEndsAt) return { kind: 'not-started', uses: [] };
  return new Promise<Ran>((resolve) => {
    const stop = (kind: 'timeout' | 'cancelled' | 'lease-lost' | 'aborted'): void => {
      const at = trace();
      // the tool must see why it is stopped before anybody else acts on it
      abort.abort(
        new DOMException(`the call was stopped: ${kind}`, kind === 'timeout' ? 'TimeoutError' : 'AbortError'),
      );
      finish({ kind, trace: at });
    };
    const timer = setTimeout(() => stop('timeout'), tool.manifest.timeoutMs);
    const onCancel = (): void => stop('cancelled');
    const renewal = setInterval(() => {
      const askedAt = performance.now();
      options.renew().then(
        (found) => {
          if (found === 'held') leaseEndsAt = askedAt + LEASE_MS;
          else stop(found === 'abort' ? 'aborted' : 'lease-lost');
        },
        () => undefined, // the database is away: the lease runs out by itself
      );
    }, LEASE_RENEW_MS);
    const beat = setInterval(() => options.heartbeat(progress), HEARTBEAT_TIMEOUT_MS / 4);
    function finish(attempt: Attempt): void {
      if (finished) return;
      finished = true;
      clearTimeout(timer);
      clearInterval(renewal);
      clearInterval(beat);
      options.cancelled.removeEventListener('abort', onCancel);
      resolve({ ...attempt, uses: traffic.uses });
    }
    if (options.cancelled.aborted) return stop('cancelled');
    options.cancelled.addEventListener('abort', onCancel, { once: true });
    watching(own, () => Promise.resolve().then(() => tool.code.execute(options.args as never, ctx))).then(
      (output: unknown) => finish({ kind: 'returned', output }),
      (error: unknown) => finish({ kind: 'threw', error, trace: trace() }),
    );
  });
}
