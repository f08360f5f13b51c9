/** What `actguard secrets scan examples/refund-desk` runs: the recorded model, the payment service, one refund. */
import { join } from 'node:path';
import { startWorld, worldEnvironment } from './world.ts';

export default async function prepare({ folder }: { folder: string }) {
  const world = await startWorld(join(folder, 'books'));
  return {
    input: 'Refund order 1042',
    ownValues: true, // the service checks its key
    environment: worldEnvironment(world),
    stop: () => world.stop(),
  };
}
