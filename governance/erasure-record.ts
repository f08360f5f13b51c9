/**
 * Whether an entry that says content was erased carries a command to erase just that, signed by an operator or administrator
 * whose enrolment ends in a root. Whoever has the database can write such an entry; without the signature it excuses nothing.
 */
import { verifySignedCommand } from './command.ts';
import { digestOf } from './digest.ts';
import type { Trust } from './enrolment.ts';
import { erasureTarget, parseErasure } from './erasure.ts';
import type { Json, JsonObject } from './json.ts';
import { type Parsed, exactObject, parsing, refuse, valueOf } from './strict.ts';

/** Whose commands count. `roots` null: any chain that holds, for somebody who knows no root. */
export interface CommandTrust extends Pick<Trust, 'checks'> {
  readonly roots: readonly string[] | null;
}

/** What is wrong with the record; null: nothing. @param rootOf fingerprint at the end of a chain */
export function erasureRecordProblem(
  entry: JsonObject,
  trust: CommandTrust,
  rootOf: (key: { readonly envelope: Json; readonly chain: Json }) => string,
): string | null {
  const read: Parsed<null> = parsing(() => {
    const data = (entry['data'] ?? {}) as JsonObject;
    const { envelope, enrolment, nonce, envelopeSha256 } = data;
    if (envelope === undefined || enrolment === undefined) return refuse('it holds no signed command');
    if (digestOf(envelope) !== envelopeSha256) return refuse('its command is another one than it names');
    const { envelope: enrolled, chain } = exactObject(enrolment, ['envelope', 'chain'], 'the enrolment');
    const row = { envelope: enrolled as Json, chain: chain as Json, revoked: false };
    const expected = {
      tenant: String(entry['tenant']),
      target: erasureTarget(valueOf(parseErasure(data['target']))),
    };
    const roots = trust.roots ?? [rootOf(row)];
    const nowMs = Date.parse(String(entry['at']));
    const { command, key } = valueOf(
      verifySignedCommand(envelope, expected, row, { roots, dev: true, nowMs, passkeys: null, checks: trust.checks }),
    );
    if (command.verb !== 'erase') return refuse(`its command is no erase but ${command.verb}`);
    if (command.nonce !== nonce || key.keyId !== data['key'] || key.person !== data['person'])
      return refuse('it names another command, key or person than its envelope');
    return null;
  });
  return read.kind === 'ok' ? null : read.reason;
}
