/**
 * Removes the values of known secrets from text and JSON before anything leaves a call: outputs, errors, logs.
 * Known are the secrets that this worker resolved, in the forms they usually leak in: raw, JSON-escaped, base64 (all
 * three alignments, both alphabets), hex, URL-encoded. Split over fields, compressed or entity-encoded text is not found
 * (docs/credentials.md).
 */
import type { Json } from '../governance/json.ts';

/** What stands where a secret stood. */
export const SCRUBBED = '[secret]';

/** A set of secrets and their forms. */
export class SecretSet {
  readonly #values = new Set<string>();
  #forms: readonly string[] = [];

  add(secret: string): void {
    if (this.#values.has(secret)) return;
    this.#values.add(secret);
    const forms = new Set<string>();
    for (const value of this.#values) for (const form of formsOf(value)) forms.add(form);
    // longest first: a form that contains another must go as a whole
    this.#forms = [...forms].sort((a, b) => b.length - a.length);
  }

  /** Whether the text holds a secret in any known form. */
  found(text: string): boolean {
    return this.#forms.some((form) => text.includes(form) || text.toLowerCase().includes(form.toLowerCase()));
  }

  text(text: string): string {
    let clean = text;
    for (const form of this.#forms) {
      if (clean.includes(form)) clean = clean.replaceAll(form, SCRUBBED);
    }
    return clean;
  }

  /** Every string and every key of a JSON value. */
  json(value: Json): Json {
    if (this.#forms.length === 0) return value;
    if (typeof value === 'string') return this.text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item: Json) => this.json(item));
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [this.text(key), item === undefined ? undefined : this.json(item)]),
    );
  }
}

/** The forms a secret leaks in. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const hex = bytes.toString('hex');
  const forms = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), hex, hex.toUpperCase()];
  for (const shift of [0, 1, 2]) {
    // base64 of the secret inside a longer text: the characters that depend on its bytes alone
    const padded = Buffer.concat([Buffer.alloc(shift), bytes]);
    const encoded = padded.toString('base64').replace(/=+$/, '');
    const from = shift === 0 ? 0 : shift + 1;
    const to = padded.length % 3 === 0 ? encoded.length : encoded.length - 1;
    const core = encoded.slice(from, to);
    if (core.length >= 12) forms.push(core, core.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return [...new Set(forms)];
}
