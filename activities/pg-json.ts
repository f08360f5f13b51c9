/** JSON as Postgres takes it: jsonb cannot hold U+0000, which a hostile output may contain. */

/** `JSON.stringify` with every U+0000 shown as U+FFFD. Canonical entry bodies are text inside JSON and stay as they are. */
export function pgJson(value: unknown): string {
  const text = JSON.stringify(value);
  if (!text.includes('\\u0000')) return text;
  // an even number of backslashes before it: `\\u0000` is text, `\u0000` is the character
  return text.replace(/(?<!\\)((?:\\\\)*)\\u0000/g, '$1\\ufffd');
}
