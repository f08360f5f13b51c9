/** The forms a secret leaks in: raw, JSON-escaped, base64 in all alignments and both alphabets, hex, URL-encoded. */

/** Every form, at least 4 characters long, without regard to the case of ASCII letters. */
export function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const uri = encodeURIComponent(secret.toWellFormed());
  const escaped = JSON.stringify(secret).slice(1, -1);
  const forms = [
    secret,
    escaped,
    // what writes JSON in ASCII only
    escaped.replace(/[^\x00-\x7f]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`),
    // slashes that JSON for HTML escapes
    escaped.replaceAll('/', '\\/'),
    uri,
    // forms (application/x-www-form-urlencoded) escape more, and write a blank as +
    new URLSearchParams({ x: secret }).toString().slice(2),
    // every byte escaped
    [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
    bytes.toString('hex'),
    ...base64Forms(bytes),
  ];
  return [...new Set(forms.map(fold))];
}

/** Base64 of the secret inside a longer text: the characters that depend on its bytes alone, for each alignment. */
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((shift) => {
    const padded = Buffer.concat([Buffer.alloc(shift), bytes]);
    const encoded = padded.toString('base64').replace(/=+$/, '');
    const core = encoded.slice(
      shift === 0 ? 0 : shift + 1,
      padded.length % 3 === 0 ? encoded.length : encoded.length - 1,
    );
    return [core, core.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

/** ASCII letters in small: a leak is one in any case, and hex and percent signs come in both. Keeps the length. */
export function fold(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
