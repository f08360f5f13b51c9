/** Keys that sign checkpoints stand behind this: a file now, a key service later. */
import type { NoteKey } from '../governance/note.ts';

/** A key that signs and never shows itself. */
export interface KeySigner {
  /** The public half, named like the log (its origin) or the witness. */
  readonly key: NoteKey;
  /** Ed25519 over these bytes: 64 bytes. @throws BACKEND_UNAVAILABLE */
  sign(message: Uint8Array): Promise<Uint8Array>;
}
