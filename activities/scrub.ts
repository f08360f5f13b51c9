/**
 * Removes the values of known secrets from text and JSON before anything leaves a call: outputs, errors, logs.
 * Known are the secrets that this worker resolved, in the forms they usually leak in (secret-forms.ts). Split over
 * fields, compressed or entity-encoded text is not found (docs/credentials.md).
 */
import type { Json } from '../governance/json.ts';
import { Scanner } from './scrub-scan.ts';
import { fold, formsOf } from './secret-forms.ts';

/** What stands where a secret stood. */
export const SCRUBBED = '[secret]';

/** What scrubs the texts of one call. */
export type Scrub = Pick<SecretSet, 'text' | 'json' | 'cut'>;

/** A set of secrets and their forms. */
export class SecretSet {
  readonly #values = new Set<string>();
  readonly #scanner = new Scanner();

  add(secret: string): void {
    if (this.#values.has(secret)) return;
    this.#values.add(secret);
    for (const form of formsOf(secret)) this.#scanner.add(form);
  }

  /** Adds a text as it stands: what a pattern found, not a secret whose other forms are to be guarded against. */
  addText(text: string): void {
    this.#scanner.add(fold(text));
  }

  /** Whether the text holds a secret in any known form. */
  found(text: string): boolean {
    return this.#scanner.find(text, true).length > 0;
  }

  text(text: string): string {
    const spans = this.#scanner.find(text);
    if (spans.length === 0) return text;
    let clean = '';
    let from = 0;
    for (const span of spans) {
      clean += text.slice(from, span.from) + SCRUBBED;
      from = span.to;
    }
    return clean + text.slice(from);
  }

  /** The first characters of a text, scrubbed; no secret is cut in two, so that its first half would stay. */
  cut(text: string, maxChars: number): string {
    const clean = this.text(text);
    if (clean.length <= maxChars) return clean;
    const kept = clean.slice(0, maxChars);
    return kept.slice(0, kept.length - this.pending(kept));
  }

  /** How many characters at the end of a text could be the beginning of a secret. */
  pending(text: string): number {
    return this.#scanner.pending(text);
  }

  /** Every string and every key of a JSON value. */
  json(value: Json): Json {
    if (this.#scanner.longest === 0) return value;
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item: Json) => this.json(item));
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [this.text(key), item === undefined ? undefined : this.json(item)]),
    );
  }
}
