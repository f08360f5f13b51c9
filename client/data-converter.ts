/** How payloads go over the wire: one setting for client, worker, replay and codec server. */
import type { Client, DataConverter } from '@temporalio/client';
import { ActGuardError } from '../governance/errors.ts';
import { PayloadCipher } from '../activities/payload-codec.ts';
import { openPayloadKeys, type PayloadKeys } from '../activities/payload-keys.ts';
import { failureConverterPath, payloadConverterPath } from '../workflows/converter-path.ts';

/** Names the file of payload keys; unset: payloads stand in clear. */
export const PAYLOAD_KEYS_ENV = 'ACTGUARD_PAYLOAD_KEYS';

/**
 * The converter for a file of payload keys; null: nothing is encrypted.
 * @throws CONFIG_INVALID when the file cannot be used
 */
export function dataConverterOf(keysFile: string | null): DataConverter {
  return converterWith(keysAt(keysFile));
}

/** The same for keys that are open already; null: nothing is encrypted. */
export function converterWith(keys: PayloadKeys | null): DataConverter {
  if (keys === null) return { payloadConverterPath };
  return { payloadConverterPath, failureConverterPath, payloadCodecs: [new PayloadCipher(keys)] };
}

/** The keys of a file; null: there is none. @throws CONFIG_INVALID when it cannot be used */
export function keysAt(keysFile: string | null): PayloadKeys | null {
  return keysFile === null ? null : openPayloadKeys(keysFile);
}

/** The file that the environment names; null: none. */
export function payloadKeysFile(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | null {
  return environment[PAYLOAD_KEYS_ENV] || null;
}

/** A value that came back. @throws CONFIG_INVALID where this client has not the key that it was encrypted with */
export function readable<T>(value: T): T {
  if (typeof value !== 'object' || value === null || !('__actguardUndecodable' in value)) return value;
  throw new ActGuardError('CONFIG_INVALID', 'the answer cannot be decoded with the payload keys of this client', {
    hint: `give it the file of keys that the worker has: ${PAYLOAD_KEYS_ENV}`,
  });
}

/** What this client sends to a workflow is encrypted with that tenant's key. */
export function rememberTenant(client: Client, workflowId: string, tenant: string): void {
  for (const codec of client.options.loadedDataConverter.payloadCodecs) {
    if (codec instanceof PayloadCipher) codec.remember(workflowId, tenant);
  }
}
