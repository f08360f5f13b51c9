/**
 * Content at rest: arguments, outputs, transcripts, shown text and the salts that open commitments, as Postgres keeps
 * them. With payload keys they are encrypted with the tenant's (AES-256-GCM, a key derived for this alone, bound to the
 * tenant and to what it is); what SQL reads stays beside them in clear. Without keys everything stays as it is.
 */
import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { type Gone, goneKey, goneWords } from '../governance/content.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { EntryRow } from '../governance/entry.ts';
import type { JsonObject } from '../governance/json.ts';
import { open, seal } from './aes.ts';
import type { PayloadKey, PayloadKeys } from './payload-keys.ts';

/** What a piece of content is: a sealed one passes for no other kind. */
export type ContentKind = 'entry' | 'result' | 'answer' | 'turn' | 'ask' | 'title' | 'grant' | 'question';

/** Fields that stay in clear, for SQL and for proofs: they say nothing of what was asked or answered. */
const CLEAR: { readonly [kind in ContentKind]: readonly string[] } = {
  entry: ['envelope', 'chain'], // signed statements: they hold commitments
  result: ['kind', 'spentMicros', 'bytes', 'provedAtMs'],
  answer: ['kind', 'spent'],
  turn: [],
  ask: [],
  title: [],
  grant: ['v', 'principal', 'mode', 'openedBy', 'deadlineMs', 'limit', 'tools', 'groups'],
  question: [],
};
/** Before text that is sealed: nothing that we keep begins like this. */
const SEALED_TEXT = 'actguard:sealed:';

/** Seals and opens content; one a connection pool. */
export class ContentCipher {
  readonly #keys: PayloadKeys | null;
  readonly #derived = new WeakMap<PayloadKey, KeyObject>();

  /** `keys` null: everything stays in clear, and what is sealed cannot be read. */
  constructor(keys: PayloadKeys | null) {
    this.#keys = keys;
  }

  /** Whether what is written here is encrypted. */
  get seals(): boolean {
    return this.#keys !== null;
  }

  /** What Postgres keeps of a value. @throws CONFIG_INVALID when the file has no key that encrypts */
  seal<T extends object>(kind: ContentKind, tenant: string, value: T): T;
  seal<T extends object>(kind: ContentKind, tenant: string, value: T | null): T | null;
  seal<T extends object>(kind: ContentKind, tenant: string, value: T | null): T | null {
    if (this.#keys === null || value === null) return value;
    const clear: [string, unknown][] = [];
    const rest: [string, unknown][] = [];
    for (const field of Object.entries(value)) (CLEAR[kind].includes(field[0]) ? clear : rest).push(field);
    if (rest.length === 0) return value;
    const sealed = this.#encrypt(this.#keys, kind, tenant, JSON.stringify(Object.fromEntries(rest)));
    return { ...Object.fromEntries(clear), sealed } as T;
  }

  /** The value that was sealed; one that cannot be opened says so ({@link goneKey}). What is in clear is itself. */
  open<T extends object>(kind: ContentKind, tenant: string, value: T): T;
  open<T extends object>(kind: ContentKind, tenant: string, value: T | null): T | null;
  open<T extends object>(kind: ContentKind, tenant: string, value: T | null): T | null {
    if (value === null || !('sealed' in value) || typeof value.sealed !== 'string') return value;
    const { sealed, ...clear } = value;
    const opened = this.#decrypt(kind, tenant, sealed);
    return { ...clear, ...(typeof opened === 'string' ? (JSON.parse(opened) as object) : opened) } as T;
  }

  /** The same for who cannot go on without. @throws BACKEND_UNAVAILABLE without its key, CONFLICT when it was changed */
  need<T extends object>(kind: ContentKind, tenant: string, value: T): T;
  need<T extends object>(kind: ContentKind, tenant: string, value: T | null): T | null;
  need<T extends object>(kind: ContentKind, tenant: string, value: T | null): T | null {
    const opened = this.open(kind, tenant, value);
    const gone = goneKey(opened);
    if (gone) throw missing(gone);
    return opened;
  }

  /** What Postgres keeps of text. */
  sealText(kind: ContentKind, tenant: string, text: string): string {
    return this.#keys === null ? text : `${SEALED_TEXT}${this.#encrypt(this.#keys, kind, tenant, text)}`;
  }

  /** Text that was sealed, or why it cannot be opened. */
  openText(kind: ContentKind, tenant: string, text: string): string | Gone {
    return text.startsWith(SEALED_TEXT) ? this.#decrypt(kind, tenant, text.slice(SEALED_TEXT.length)) : text;
  }

  /** The same for people: a text that cannot be opened says so. */
  showText(kind: ContentKind, tenant: string, text: string): string {
    const opened = this.openText(kind, tenant, text);
    return typeof opened === 'string' ? opened : `(${goneWords(opened)})`;
  }

  /** @throws BACKEND_UNAVAILABLE without its key, CONFLICT when it was changed */
  needText(kind: ContentKind, tenant: string, text: string): string {
    const opened = this.openText(kind, tenant, text);
    if (typeof opened !== 'string') throw missing(opened);
    return opened;
  }

  #encrypt(keys: PayloadKeys, kind: ContentKind, tenant: string, text: string): string {
    const key = keys.current(tenant);
    const sealed = seal(this.#contentKey(key), associated(key.id, kind, tenant), text);
    return `${key.id}.${sealed.toString('base64')}`;
  }

  #decrypt(kind: ContentKind, tenant: string, text: string): string | Gone {
    const dot = text.indexOf('.');
    const id = text.slice(0, Math.max(0, dot));
    const key = this.#keys?.byId(id);
    if (!key) return { unreadable: id };
    try {
      const sealed = Buffer.from(text.slice(dot + 1), 'base64');
      return open(this.#contentKey(key), associated(id, kind, tenant), sealed).toString('utf8');
    } catch {
      return { damaged: id };
    }
  }

  /** Payloads and content share a key's id and its life, never its bytes (HKDF, RFC 5869). */
  #contentKey(key: PayloadKey): KeyObject {
    let derived = this.#derived.get(key);
    if (!derived) {
      derived = createSecretKey(
        new Uint8Array(hkdfSync('sha256', key.secret, Buffer.alloc(0), 'actguard content v1', 32)),
      );
      this.#derived.set(key, derived);
    }
    return derived;
  }
}

/** Nothing is encrypted here. */
export const IN_CLEAR = new ContentCipher(null);

/** Entries as Postgres keeps them: what lies beside each is sealed for its tenant. */
export function sealEntries(cipher: ContentCipher, entries: readonly EntryRow[]): readonly EntryRow[] {
  return entries.map((entry) =>
    entry.content === null
      ? entry
      : { ...entry, content: cipher.seal('entry', entry.tenant, entry.content as JsonObject) },
  );
}

function associated(id: string, kind: ContentKind, tenant: string): Buffer {
  return Buffer.from(JSON.stringify(['actguard content v1', id, kind, tenant]));
}

function missing(gone: Gone): ActGuardError {
  if (gone.damaged !== undefined) {
    return new ActGuardError('CONFLICT', 'stored content is not what was written', {
      hint: 'stop; an operator has to look at the database',
      details: { key: gone.damaged },
    });
  }
  return new ActGuardError(
    'BACKEND_UNAVAILABLE',
    `stored content cannot be read without payload key \`${gone.unreadable}\``,
    {
      hint: 'give this process the file of keys that the worker has: ACTGUARD_PAYLOAD_KEYS',
      details: { key: gone.unreadable ?? '' },
    },
  );
}
