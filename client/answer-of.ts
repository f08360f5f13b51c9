/** Waits for the worker that carries out a request which belongs to no run. */
import { ActGuardError } from '../governance/errors.ts';

/** An answer takes a few round trips to the database; later than this, no worker is there. */
const ANSWER_WITHIN_MS = 15_000;

/** @throws BACKEND_UNAVAILABLE when nobody has answered in time: the request stands and is carried out later */
export async function answerOf<R>(answer: Promise<R>): Promise<R> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = 'no worker has answered yet; the request stands and is carried out by the next one';
      reject(new ActGuardError('BACKEND_UNAVAILABLE', message, { hint: '`actguard doctor` tells more' }));
    }, ANSWER_WITHIN_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
    answer.catch(() => undefined);
  }
}
