/** Temporal for tests: the run's dev server, and a server of one's own that skips time. */
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { inject } from 'vitest';
import { TEMPORAL_TEST_SERVER } from '../../worker/temporal-download.ts';
import { findDownload } from '../../worker/temporal-server.ts';

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
  return TestWorkflowEnvironment.createTimeSkipping({ server: { executable: { type: 'existing-path', path } } });
}
