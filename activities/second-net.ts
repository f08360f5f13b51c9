/**
 * The second net: what looks like somebody's secret although no source of ours gave it, by secretlint's rules and a few
 * shapes they miss. Looked for only in texts that hold a telling beginning, and only around it: a megabyte without one
 * costs a single pass, and hostile text cannot make the rules run long.
 */
import { MAX_NET_EXCERPTS, NET_EXCERPT_CHARS } from '../governance/limits.ts';
import type { Json } from '../governance/json.ts';
import type { Attempt } from './run-tool.ts';
import { SecretSet, type Scrub } from './scrub.ts';

/** Beginnings that the rules know. */
const TELLING =
  /gh[pousr]_|github_pat_|xox[abeoprs]-|xapp-|hooks\.slack|AKIA|ASIA|sk-|[sr]k_live_|-----BEGIN|AIza|glpat-|npm_|SG\.|AGE-SECRET-KEY|hvs\.|shp(at|ss)_|dop_v1_|lin_api_|ops_ey|figd_|private_key|:\/\/[^\s/@:"]{0,200}:[^\s/@"]{1,200}@/g;
/** Shapes that secretlint misses; each linear. */
const SHAPES: readonly RegExp[] = [
  /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g,
  /\bsk-(?:proj|ant|svcacct|or)-[\w-]{20,300}/g,
  /\b[sr]k_live_[0-9A-Za-z]{16,200}/g,
  /\bhvs\.[\w-]{20,200}/g,
  /\bAIza[\w-]{35}\b/g,
  /\bAGE-SECRET-KEY-1[0-9A-Z]{50,70}/g,
  /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{20,8000}-----END [A-Z ]{0,30}PRIVATE KEY-----/g,
];

/** The scrub for one attempt: the known secrets, and what the net found in what it returned or threw. */
export async function withSecondNet(known: SecretSet, attempt: Attempt): Promise<Scrub> {
  const texts = textsOf(attempt);
  const found = new Set<string>();
  for (const text of texts) for (const literal of await findSecrets(text)) found.add(literal);
  if (found.size === 0) return known;
  const extra = new SecretSet();
  for (const literal of found) {
    extra.addText(literal);
    extra.addText(unescaped(literal));
  }
  return {
    text: (text) => extra.text(known.text(text)),
    json: (value: Json) => extra.json(known.json(value)),
    cut: (text, maxChars) => extra.cut(known.text(text), maxChars),
  };
}

/** Pieces of a text that look like secrets. */
export async function findSecrets(text: string): Promise<string[]> {
  const excerpt = excerptsOf(text);
  if (excerpt === '') return [];
  const literals = SHAPES.flatMap((shape) => [...excerpt.matchAll(shape)].map(([literal]) => literal));
  const lint = await (rules ??= loadRules());
  for (const [from, to] of await lint(excerpt)) literals.push(excerpt.slice(from, to));
  return literals.filter((literal) => literal.length >= 12);
}

/** The text around each telling beginning, overlapping ones as one. */
export function excerptsOf(text: string): string {
  const parts: string[] = [];
  let until = 0;
  for (const { index } of text.matchAll(TELLING)) {
    if (index < until) continue;
    if (parts.length >= MAX_NET_EXCERPTS) break;
    const from = Math.max(until, index - 64);
    until = index + NET_EXCERPT_CHARS;
    parts.push(text.slice(from, until));
  }
  return parts.join('\n\n');
}

type Lint = (text: string) => Promise<(readonly [from: number, to: number])[]>;
let rules: Promise<Lint> | undefined;

/** Loaded with the first telling text: most workers never see one. */
async function loadRules(): Promise<Lint> {
  const [{ lintSource }, { creator }] = await Promise.all([
    import('@secretlint/core'),
    import('@secretlint/secretlint-rule-preset-recommend'),
  ]);
  const id = '@secretlint/secretlint-rule-preset-recommend';
  const config = { rules: [{ id, rule: creator }] };
  return async (content) => {
    const source = { content, filePath: 'output.txt', ext: '.txt', contentType: 'text' as const };
    const { messages } = await lintSource({ source, options: { config, noPhysicFilePath: true } });
    return messages.map(({ range }) => [range[0], range[1]]);
  };
}

function textsOf(attempt: Attempt): string[] {
  if (attempt.kind === 'threw') {
    const { error } = attempt;
    return error instanceof Error ? [error.message, error.name] : [String(error)];
  }
  if (attempt.kind !== 'returned') return [];
  try {
    return [JSON.stringify(attempt.output) ?? ''];
  } catch {
    return []; // no plain JSON: it is refused and not kept
  }
}

/** As it stands in a string whose JSON it was found in. */
function unescaped(literal: string): string {
  try {
    return JSON.parse(`"${literal}"`) as string;
  } catch {
    return literal;
  }
}
