/**
 * Encrypts what Temporal keeps: AES-256-GCM over the whole payload, the key's id beside it. A tenant's runs use the
 * tenant's key. Decoding never throws (trust.md, Signals cannot wedge a run): what cannot be opened stays a payload of
 * an encoding that nobody knows, which the payload converter turns into a marker; inputs and results that are markers
 * fail closed.
 */
import type { Payload, PayloadCodec } from '@temporalio/common';
import protobuf from 'protobufjs';
import { open, seal } from './aes.ts';
import type { PayloadKey, PayloadKeys } from './payload-keys.ts';

const ENCRYPTED = 'binary/encrypted';
/** The encoding of a payload that could not be opened. */
export const UNDECODABLE = 'binary/undecodable';
const CIPHER = 'AES-256-GCM';
/** Workflows whose tenant is remembered; a forgotten one is learnt again from the next payload that is opened. */
const MAX_REMEMBERED = 10_000;

type Context = Parameters<PayloadCodec['encode']>[1];

/** One a process: it learns from what it opens which tenant a workflow belongs to. */
export class PayloadCipher implements PayloadCodec {
  readonly #keys: PayloadKeys;
  readonly #tenants = new Map<string, string>();

  constructor(keys: PayloadKeys) {
    this.#keys = keys;
  }

  /** Which tenant a workflow belongs to: what is sent to it is encrypted with that tenant's key. */
  remember(workflowId: string, tenant: string): void {
    this.#tenants.delete(workflowId);
    this.#tenants.set(workflowId, tenant);
    if (this.#tenants.size > MAX_REMEMBERED) {
      for (const oldest of this.#tenants.keys()) {
        this.#tenants.delete(oldest);
        break;
      }
    }
  }

  encode(payloads: Payload[], context?: Context): Promise<Payload[]> {
    const workflowId = context?.workflowId;
    const tenant = workflowId === undefined ? null : (this.#tenants.get(workflowId) ?? null);
    const key = this.#keys.current(tenant);
    return Promise.resolve(payloads.map((payload) => encrypt(payload, key)));
  }

  decode(payloads: Payload[], context?: Context): Promise<Payload[]> {
    const workflowId = context?.workflowId;
    return Promise.resolve(
      payloads.map((payload) => {
        if (textOf(payload.metadata?.['encoding']) !== ENCRYPTED) return payload;
        const id = textOf(payload.metadata?.['encryption-key-id']);
        const key = this.#keys.byId(id);
        if (!key) return undecodable('unknown-key');
        if (key.tenant !== null && workflowId !== undefined) this.remember(workflowId, key.tenant);
        return decrypt(payload, key);
      }),
    );
  }
}

/** Ids of the keys that payloads were encrypted with. */
export function keyIdsOf(payloads: readonly Payload[]): string[] {
  return [...new Set(payloads.map((p) => textOf(p.metadata?.['encryption-key-id'])).filter((id) => id !== ''))];
}

function encrypt(payload: Payload, key: PayloadKey): Payload {
  return {
    metadata: {
      encoding: Buffer.from(ENCRYPTED),
      'encryption-cipher': Buffer.from(CIPHER),
      'encryption-key-id': Buffer.from(key.id),
    },
    data: seal(key.secret, associated(key.id), toBytes(payload)),
  };
}

function decrypt(payload: Payload, key: PayloadKey): Payload {
  try {
    return fromBytes(open(key.secret, associated(key.id), payload.data ?? new Uint8Array()));
  } catch {
    return undecodable('damaged');
  }
}

/** Bound to its key's id: a payload cannot be passed off as another key's. */
function associated(keyId: string): Buffer {
  return Buffer.from(`actguard payload v1 ${keyId}`);
}

function undecodable(why: 'unknown-key' | 'damaged'): Payload {
  return { metadata: { encoding: Buffer.from(UNDECODABLE), reason: Buffer.from(why) }, data: Buffer.alloc(0) };
}

// temporal.api.common.v1.Payload: map<string, bytes> metadata = 1; bytes data = 2. Written out: two fields do not need
// the whole of Temporal's protocol.
function toBytes(payload: Payload): Uint8Array {
  const writer = protobuf.Writer.create();
  for (const [name, value] of Object.entries(payload.metadata ?? {})) {
    writer.uint32(10).fork().uint32(10).string(name).uint32(18).bytes(value).ldelim();
  }
  return writer
    .uint32(18)
    .bytes(payload.data ?? new Uint8Array())
    .finish();
}

function fromBytes(bytes: Uint8Array): Payload {
  const reader = protobuf.Reader.create(bytes);
  const metadata: { [name: string]: Uint8Array } = {};
  let data: Uint8Array = new Uint8Array();
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 10) {
      const end = reader.uint32() + reader.pos;
      let name = '';
      let value: Uint8Array = new Uint8Array();
      while (reader.pos < end) {
        const field = reader.uint32();
        if (field === 10) name = reader.string();
        else if (field === 18) value = reader.bytes();
        else reader.skipType(field & 7);
      }
      metadata[name] = value;
    } else if (tag === 18) data = reader.bytes();
    else reader.skipType(tag & 7);
  }
  return { metadata, data };
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return bytes ? Buffer.from(bytes).toString('utf8') : '';
}
