/** Options of a tool that say whom its values come from and where they may go (guards.md, Provenance). */
import type { z } from 'zod';
import type { ArgumentTrust, OutputTrust, TrustOptions } from '../governance/tool.ts';
import { MAX_DESCRIPTION_CHARS } from '../governance/limits.ts';
import { isOptions, quote } from './check.ts';
import type { Checks, Options } from './check.ts';
import { outputFields } from './schema.ts';
import { unknownArgument } from './tool-guards.ts';

const LEVELS: readonly OutputTrust[] = ['trusted', 'internal', 'untrusted'];
const MODES: readonly ArgumentTrust[] = ['deny', 'ask', 'allow', 'user'];

/** PV1, PV4, PV7: `outputTrust`, `private`, `declassify`, `argumentTrust`; defaults: untrusted, none, none, ask. */
export function checkTrust(
  checks: Checks,
  given: Options,
  fields: readonly string[] | null,
  output: z.ZodType | undefined,
): TrustOptions {
  const known = outputFields(output);
  const trust = checkOutputTrust(checks, given.outputTrust, known);
  return {
    output: trust.output,
    fields: trust.fields,
    private: [...new Set([...trust.private, ...checkPrivate(checks, given.private, known)])].sort(),
    declassify: checkDeclassify(checks, given.declassify, known),
    arguments: checkArgumentTrust(checks, given.argumentTrust, fields),
  };
}

function checkOutputTrust(
  checks: Checks,
  value: unknown,
  known: readonly string[] | null,
): { output: OutputTrust; fields: { [field: string]: OutputTrust }; private: string[] } {
  const found = { output: 'untrusted' as OutputTrust, fields: {} as { [field: string]: OutputTrust }, private: [] as string[] }; // prettier-ignore
  if (value === undefined) return found;
  if (!isOptions(value)) return { ...found, output: checks.oneOf('outputTrust', value, 'untrusted', LEVELS) };
  for (const [name, level] of Object.entries(value)) {
    if (level === undefined) continue;
    const field = `outputTrust.${name}`;
    checkField(checks, field, name, known);
    if (level === 'private') found.private.push(name);
    else found.fields[name] = checks.oneOf(field, level, 'untrusted', LEVELS);
  }
  return found;
}

function checkPrivate(checks: Checks, value: unknown, known: readonly string[] | null): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    checks.add('private', `must be a list of output fields, not ${quote(value)}`);
    return [];
  }
  return (value as unknown[]).map((name, i) => {
    const label = checks.label(`private.${i}`, name);
    if (label !== '') checkField(checks, `private.${i}`, label, known);
    return label;
  });
}

/** A field rises above where it came from for a reason that a reader can judge. */
function checkDeclassify(
  checks: Checks,
  value: unknown,
  known: readonly string[] | null,
): { readonly [field: string]: string } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('declassify', `must be an object of reasons by output field, not ${quote(value)}`);
    return {};
  }
  const found: { [field: string]: string } = {};
  for (const [name, reason] of Object.entries(value)) {
    if (reason === undefined) continue;
    const field = `declassify.${name}`;
    checkField(checks, field, name, known);
    if (typeof reason === 'string' && reason.trim() !== '' && reason.length <= MAX_DESCRIPTION_CHARS) {
      found[name] = reason;
    } else {
      checks.add(field, `${quote(reason)} is not a reason`, 'say why this field cannot carry what a stranger wrote');
    }
  }
  return found;
}

function checkArgumentTrust(
  checks: Checks,
  value: unknown,
  fields: readonly string[] | null,
): { readonly [argument: string]: ArgumentTrust } {
  if (value === undefined) return {};
  if (!isOptions(value)) {
    checks.add('argumentTrust', `must be an object of ${MODES.join(', ')} by argument, not ${quote(value)}`);
    return {};
  }
  const found: { [argument: string]: ArgumentTrust } = {};
  for (const [argument, mode] of Object.entries(value)) {
    if (mode === undefined) continue;
    const field = `argumentTrust.${argument}`;
    if (fields !== null && !fields.includes(argument)) checks.add(field, unknownArgument(argument, fields));
    found[argument] = checks.oneOf(field, mode, 'ask', MODES);
  }
  return found;
}

function checkField(checks: Checks, field: string, name: string, known: readonly string[] | null): void {
  if (known === null || known.includes(name)) return;
  checks.add(field, `outputSchema has no field ${quote(name)}: there are ${known.map(quote).join(', ')}`);
}
