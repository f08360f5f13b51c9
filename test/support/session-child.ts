/** A session's caller in a process of its own, so that a test can kill it: ten calls at once, results as JSON on stdout. */
import { connect } from '../../client/index.ts';

const given = JSON.parse(process.argv[2] ?? '{}') as {
  readonly address: string;
  readonly taskQueue: string;
  readonly session: string;
};
const actguard = await connect({ address: given.address, namespace: 'default', taskQueue: given.taskQueue });
const open = () => actguard.session({ id: given.session, agent: 'payer', user: 'alice', tenant: 'acme' });
// two objects of one session, as in two requests of a stateless server: eight in flight each
const sessions = await Promise.all([open(), open()]);
const results = await Promise.all(
  Array.from({ length: 10 }, async (_, n) => {
    const session = sessions[n % 2] ?? (await open());
    let result = await session.call(n < 5 ? 'pay.kept' : 'pay.once', { n }, { callId: `call-${n}` });
    while (result.kind === 'pending') {
      await new Promise((resolve) => setTimeout(resolve, 250));
      result = await session.outcome(`call-${n}`);
    }
    return result;
  }),
);
process.stdout.write(`${JSON.stringify(results)}\n`);
await actguard.close();
