/** From policy files to a checked set: everything wrong is listed at once, at its line, and nothing half-checked is used. */
import { checkParseSchema, policyToJson, validate } from '@cedar-policy/cedar-wasm/nodejs';
import type { DetailedError, SchemaJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { Problem } from '../governance/errors.ts';
import type { JsonObject } from '../governance/json.ts';
import { MAX_POLICIES, MAX_POLICY_FILE_BYTES, MAX_POLICY_FILES } from '../governance/limits.ts';
import type { ToolManifest } from '../governance/tool.ts';
import { fromByteOffset, placeOf, problemAt } from './policy-excerpt.ts';
import { at, checkApproved, headToken, readAnnotations } from './policy-gates.ts';
import type { ParsedPolicy } from './policy-gates.ts';
import { applicable, checkNames } from './policy-names.ts';
import { betterFix } from './policy-advice.ts';
import { builtinPolicies } from './policy-builtin.ts';
import { MODEL_ACTION, MODEL_CALL, namesModels } from './policy-models.ts';
import { ACTION_GROUPS, cedarSchema, policyWorld } from './policy-schema.ts';
import type { PolicyWorld } from './policy-schema.ts';
import { normaliseText, splitPolicies } from './policy-split.ts';
import type { Finding, Piece } from './policy-split.ts';

/** A policy file: its name as shown in problems, its text. */
export interface PolicyFile {
  readonly name: string;
  readonly text: string;
}

/** What a policy set is made from. */
export interface PolicySources {
  readonly files: readonly PolicyFile[];
  readonly tools: readonly ToolManifest[];
  /** Names of the configured agents. */
  readonly agents: readonly string[];
  /** JSON Schema of what is known about users; absent: nothing. */
  readonly users?: JsonObject;
}

/** A set without a problem. */
export interface CheckedPolicies {
  readonly policies: readonly ParsedPolicy[];
  /** Generated from the tools: gates of provenance. */
  readonly builtin: readonly ParsedPolicy[];
  readonly world: PolicyWorld;
  /** Whether a policy names `Action::"model.call"`. */
  readonly judgesModels: boolean;
  readonly schema: SchemaJson<string>;
}

/** The checked set, or every problem. Never throws. */
export function checkPolicies({
  files,
  tools,
  agents,
  users,
}: PolicySources): CheckedPolicies | { readonly problems: readonly Problem[] } {
  const problems: Problem[] = [...checkFiles(files), ...checkTools(tools)];
  const texts = new Map(files.map(({ name, text }) => [name, normaliseText(text)]));
  const findings: Finding[] = [];
  const policies: ParsedPolicy[] = [];
  if (problems.length === 0) {
    for (const [file, text] of texts) {
      const split = splitPolicies(file, text);
      findings.push(...split.findings);
      for (const piece of split.findings.length === 0 ? split.pieces : []) parse(piece, policies, findings);
    }
    if (policies.length > MAX_POLICIES)
      problems.push({ where: 'policies', problem: `more than ${MAX_POLICIES} policies` });
    if (policies.length === 0 && findings.length === 0) problems.push(noPolicies());
  }
  findings.push(...duplicates(policies, texts));
  const builtin = problems.length === 0 ? builtinPolicies(tools) : [];
  const gates = [...policies, ...builtin].filter(({ gate }) => gate).map(({ id }) => id);
  const models = policies.some(namesModels);
  const world = policyWorld(models ? [...tools, MODEL_CALL] : tools, agents, [...new Set(gates)], users);
  const schema = cedarSchema(world);
  if (problems.length === 0) problems.push(...checkSchema(schema));
  for (const policy of problems.length === 0 ? policies : []) {
    findings.push(...checkOne(policy, gates, schema, world));
  }
  for (const finding of onePerLine(findings, texts)) problems.push(problemAt(texts.get(finding.file) ?? '', finding));
  return problems.length > 0 ? { problems } : { policies, builtin, world, schema, judgesModels: models };
}

/** The problem of a set that would allow nothing. */
export function noPolicies(where = 'policies'): Problem {
  const fix =
    'add a `*.cedar` file that permits what your agents may do, e.g. `permit (principal, action in Action::"read", resource);`';
  return { where, problem: 'no policy: what is not permitted is denied, so every call would be', fix };
}

function checkFiles(files: readonly PolicyFile[]): Problem[] {
  if (files.length > MAX_POLICY_FILES) return [{ where: 'policies', problem: `more than ${MAX_POLICY_FILES} files` }];
  const names = files.map(({ name }) => name);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  return [
    ...twice.map((name) => ({ where: name, problem: 'two files with one name' })),
    ...files
      .filter(({ text }) => Buffer.byteLength(text) > MAX_POLICY_FILE_BYTES)
      .map(({ name }) => ({
        where: name,
        problem: `larger than ${MAX_POLICY_FILE_BYTES / 1024} KB`,
        fix: 'split it into several files',
      })),
  ];
}

function checkTools(tools: readonly ToolManifest[]): Problem[] {
  const groups: readonly string[] = ACTION_GROUPS;
  const taken = tools
    .filter(({ name }) => name === MODEL_ACTION)
    .map(({ name }) => ({
      where: `tool \`${name}\``,
      problem: 'this is the action of model calls',
      fix: 'rename the tool',
    }));
  const grouped = tools
    .filter(({ name }) => groups.includes(name))
    .map(({ name }) => ({
      where: `tool \`${name}\``,
      problem: `\`Action::"${name}"\` is the group of all tools that ${name}`,
      fix: 'rename the tool',
    }));
  return [...taken, ...grouped];
}

function checkSchema(schema: SchemaJson<string>): Problem[] {
  const answer = attempt(() => checkParseSchema(schema));
  if (answer?.type === 'success') return [];
  return [
    {
      where: 'policies',
      problem: `the tools make no schema: ${answer?.errors.map((e) => e.message).join('; ') ?? 'cedar failed'}`,
    },
  ];
}

function parse(piece: Piece, policies: ParsedPolicy[], findings: Finding[]): void {
  const answer = attempt(() => policyToJson(piece.text));
  if (answer?.type !== 'success') {
    findings.push(...(answer?.errors ?? []).map((error) => fromCedar(piece, error)));
    if (!answer?.errors.length) findings.push(at(piece, headToken(piece), 'cedar cannot read this policy'));
    return;
  }
  const read = readAnnotations(piece, answer.json);
  findings.push(...read.findings);
  policies.push({ id: read.id, piece, json: answer.json, gate: read.gate, misread: read.findings.length > 0 });
}

function duplicates(policies: readonly ParsedPolicy[], texts: ReadonlyMap<string, string>): Finding[] {
  const first = new Map<string, Piece>();
  const findings: Finding[] = [];
  for (const { id, piece } of policies) {
    const earlier = first.get(id);
    if (earlier === undefined) {
      first.set(id, piece);
      continue;
    }
    const token = piece.tokens.find((t, index) => t.kind === 'string' && piece.tokens[index - 2]?.text === 'id');
    const { line } = placeOf(texts.get(earlier.file) ?? '', earlier.start);
    findings.push(at(piece, token, `two policies with the id \`${id}\``, `the first is at ${earlier.file}:${line}`));
  }
  return findings;
}

/** Findings of one policy. What merely follows from a gate that could not be read is left out. */
function checkOne(
  policy: ParsedPolicy,
  gates: readonly string[],
  schema: SchemaJson<string>,
  world: PolicyWorld,
): Finding[] {
  const { misread } = policy;
  const names = checkNames(policy.piece, policy.json, world);
  const approved = misread ? [] : checkApproved(policy, gates);
  const own = [...approved, ...names];
  const cedars = validateOne(policy, schema, world);
  return [
    ...own,
    ...cedars.filter(
      ({ problem }) => !(misread && /Gate|approved/.test(problem)) && !(own.length > 0 && problem === NEVER),
    ),
  ];
}

const NEVER = 'this forbid can never apply: its conditions exclude each other';

/** Strict validation. A forbid that can never fire is refused too: it protects nothing, whatever it was meant to. */
function validateOne(policy: ParsedPolicy, schema: SchemaJson<string>, world: PolicyWorld): Finding[] {
  const { piece, json } = policy;
  const answer = attempt(() => validate({ schema, policies: { staticPolicies: { [policy.id]: piece.text } } }));
  if (answer === null) return [at(piece, headToken(piece), 'cedar cannot check this policy')];
  if (answer.type !== 'success') return answer.errors.map((error) => fromCedar(piece, error));
  if (answer.validationErrors.length > 0) {
    return answer.validationErrors.map(({ error }) => {
      const found = fromCedar(piece, error);
      const fix = betterFix(error.message, json, world) ?? found.fix;
      return fix === undefined ? found : { ...found, fix };
    });
  }
  const impossible = answer.validationWarnings.some(({ error }) => error.message.includes('policy is impossible'));
  if (!impossible || json.effect !== 'forbid' || applicable(json, world).length === 0) return [];
  return [at(piece, headToken(piece), NEVER)];
}

function fromCedar(piece: Piece, error: DetailedError): Finding {
  const message = error.message
    .replace(/^for policy `[^`]*`[,:] /, '')
    .replace(/^failed to parse policy (?:with id `[^`]*` )?from string: /, '');
  const [place] = error.sourceLocations ?? [];
  const problem = place?.label ? `${message}, ${place.label}` : message;
  const head = headToken(piece)?.start ?? 0;
  const start = piece.start + (place ? fromByteOffset(piece.text, place.start) : head);
  const end = piece.start + (place ? fromByteOffset(piece.text, place.end) : head + 1);
  const found = { file: piece.file, start, end, problem };
  return error.help ? { ...found, fix: error.help.replace(/^for policy `[^`]*`[,:] /, '') } : found;
}

/** In order of place; of several about one line of one file the first found, which is ours where we have one. */
function onePerLine(findings: readonly Finding[], texts: ReadonlyMap<string, string>): Finding[] {
  const kept = new Map<string, Finding>();
  for (const finding of findings) {
    const line = `${finding.file}\n${placeOf(texts.get(finding.file) ?? '', finding.start).line}`;
    if (!kept.has(line)) kept.set(line, finding);
  }
  const order = [...texts.keys()];
  return [...kept.values()].sort((a, b) => order.indexOf(a.file) - order.indexOf(b.file) || a.start - b.start);
}

/** Cedar's answer, or null where it broke down: that is never an approval. */
function attempt<T>(ask: () => T): T | null {
  try {
    return ask();
  } catch {
    return null;
  }
}
