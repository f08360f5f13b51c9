/** The search attributes a governed run sets; Temporal refuses workflows that set one it does not know. */
import type { NativeConnection } from '@temporalio/worker';
import { ActGuardError } from '../governance/errors.ts';

/** Name -> type, as `temporal operator search-attribute create` takes it. */
export const SEARCH_ATTRIBUTES = {
  ActGuardTenant: 'Keyword',
  ActGuardAgent: 'Keyword',
  ActGuardStatus: 'Keyword',
  ActGuardSpendUsd: 'Double',
} as const;

/** @throws CONFIG_INVALID with the command that registers what is missing */
export async function checkSearchAttributes(connection: NativeConnection, namespace: string): Promise<void> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in (customAttributes ?? {})));
  if (missing.length === 0) return;
  const flags = missing.map(([name, type]) => `--name ${name} --type ${type}`).join(' ');
  throw new ActGuardError(
    'CONFIG_INVALID',
    `Temporal namespace \`${namespace}\` lacks search attributes: ${missing.map(([n]) => n).join(', ')}`,
    {
      hint: `temporal operator search-attribute create --namespace ${namespace} ${flags}`,
    },
  );
}
