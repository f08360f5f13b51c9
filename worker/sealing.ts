/** What a worker seals with: the dev stack's keys, or those that the environment names. */
import type { KeySigner } from '../activities/key-signer.ts';
import type { WitnessPlace } from '../activities/witnesses.ts';
import { ActGuardError } from '../governance/errors.ts';
import { parseNoteKey } from '../governance/note.ts';
import type { DevFile } from './dev-file.ts';
import type { Sealing } from './sealer.ts';
import { devSigner, fileSigner } from './sealing-key.ts';

/** The dev stack's: its ledger key, and its witness where one runs. */
export function devSealing(stateDirectory: string, file: Pick<DevFile, 'witness'>): Sealing {
  const witnesses = file.witness ? [witnessOf(`${file.witness.url} ${file.witness.key}`)] : [];
  return { signers: [devSigner(stateDirectory, 'log')], witnesses };
}

/**
 * From ACTGUARD_SEALING_KEY (a key file; two with a comma between them while a key rotates), ACTGUARD_SEALING_PASSPHRASE
 * (where they are encrypted) and ACTGUARD_WITNESSES (`URL KEY`, with commas between several). null: this worker does not
 * seal. @throws CONFIG_INVALID and what `fileSigner` throws
 */
export function sealingFromEnvironment(env: Readonly<Record<string, string | undefined>>): Sealing | null {
  const witnesses = listOf(env['ACTGUARD_WITNESSES']).map(witnessOf);
  const passphrase = env['ACTGUARD_SEALING_PASSPHRASE'] ?? null;
  const [first, ...rest] = listOf(env['ACTGUARD_SEALING_KEY']).map((file) => fileSigner(file, 'log', passphrase));
  if (!first) return null;
  const other = rest.find((signer) => signer.key.name !== first.key.name);
  if (other) {
    throw invalid('ACTGUARD_SEALING_KEY', `its keys name two logs, \`${first.key.name}\` and \`${other.key.name}\``);
  }
  return { signers: [first, ...rest] satisfies [KeySigner, ...KeySigner[]], witnesses };
}

function witnessOf(text: string): WitnessPlace {
  const [url = '', key = '', ...more] = text.split(/\s+/);
  const parsed = parseNoteKey(key);
  if (more.length > 0 || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw invalid('ACTGUARD_WITNESSES', 'a witness is written as its URL, a space and its public key');
  }
  if (parsed.kind === 'invalid' || parsed.value.kind !== 'witness') {
    const reason = parsed.kind === 'invalid' ? parsed.reason : 'it is the key of a log';
    throw invalid('ACTGUARD_WITNESSES', `the key after \`${url}\` is none of a witness: ${reason}`);
  }
  return { url, key: parsed.value };
}

function listOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function invalid(name: string, problem: string): ActGuardError {
  return new ActGuardError('CONFIG_INVALID', `${name}: ${problem}`, { hint: 'see docs/ledger.md, "In production"' });
}
