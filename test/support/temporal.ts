/** Temporal for tests: the run's dev server, and a server of one's own that skips time. */
import proto from '@temporalio/proto';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { inject } from 'vitest';
import { TEMPORAL_TEST_SERVER } from '../../worker/temporal-download.ts';
import { SEARCH_ATTRIBUTES } from '../../worker/search-attributes.ts';
import { findDownload } from '../../worker/temporal-server.ts';
import { payloadConverterPath } from '../../workflows/converter-path.ts';

const { temporal } = proto;

/** `127.0.0.1:port` of the dev server that the whole test run shares: use task queues and workflow ids of your own. */
export function temporalAddress(): string {
  return inject('temporalAddress');
}

/**
 * A server on which days pass in milliseconds; time is global to it. Call `teardown()` in `afterAll`.
 *
 * @example
 * const env = await timeSkippingEnv();
 * afterAll(() => env.teardown());
 */
export async function timeSkippingEnv(): Promise<TestWorkflowEnvironment> {
  const path = await findDownload(TEMPORAL_TEST_SERVER, (message) => console.log(message));
  const env = await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path } },
    client: { dataConverter: { payloadConverterPath } },
  });
  const types = temporal.api.enums.v1.IndexedValueType;
  const typeOf = { Keyword: types.INDEXED_VALUE_TYPE_KEYWORD, Double: types.INDEXED_VALUE_TYPE_DOUBLE };
  await env.connection.operatorService.addSearchAttributes({
    namespace: env.namespace ?? 'default',
    searchAttributes: Object.fromEntries(Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => [name, typeOf[type]])),
  });
  return env;
}

/** The shared dev server: real time, real limits. `teardown()` only disconnects. */
export function devEnv(): Promise<TestWorkflowEnvironment> {
  return TestWorkflowEnvironment.createFromExistingServer({
    address: temporalAddress(),
    client: { dataConverter: { payloadConverterPath } },
  });
}
