/** Updates to a session's workflow: at most so many in flight, the rest queue here; transport trouble is tried again. */
import type { Client, WorkflowHandle } from '@temporalio/client';
import type { UpdateDefinition } from '@temporalio/common';
import { ulid } from 'ulid';
import { deny } from '../governance/denial.ts';
import { isActGuardError, type Denial } from '../governance/errors.ts';
import type { RunResult } from '../governance/call.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import { readable } from './data-converter.ts';
import { asActGuardError } from './run.ts';

const BUSY_PAUSE_MS = 200;

/** A number of places; whoever finds none waits for one, first come first served. */
export class Lane {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async enter(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
  }

  leave(): void {
    const next = this.#queue.shift();
    if (next) next();
    else this.#free += 1;
  }
}

/** What every message of a session may be answered instead. */
export interface Refused {
  readonly kind: 'denied';
  readonly denial: Denial;
  readonly callId: string;
}

export class SessionUpdates {
  readonly handle: WorkflowHandle;
  readonly #session: string;
  readonly #run: string;

  constructor(client: Client, session: string, run: string) {
    this.#session = session;
    this.#run = run;
    this.handle = client.workflow.getHandle(workflowIdOf(run));
  }

  /** Sends one and waits for its answer. @throws BACKEND_UNAVAILABLE; asking again under the same callId is harmless */
  async send<R, A extends { readonly callId: string }>(
    update: UpdateDefinition<R, [A]>,
    asked: A,
  ): Promise<R | Refused> {
    const { callId } = asked;
    const updateId = `${callId.slice(0, 100)}:${ulid()}`;
    for (;;) {
      try {
        return readable(await this.handle.executeUpdate(update, { args: [asked], updateId }));
      } catch (error) {
        if (isActGuardError(error)) throw error;
        const text = messagesOf(error);
        if (/in-flight|RESOURCE_EXHAUSTED|ResourceExhausted/i.test(text)) {
          await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS * (1 + Math.random())));
          continue;
        }
        // it had ended before, or ends while it is asked: what the server says of that has several texts
        const gone = error instanceof Error && error.name === 'WorkflowNotFoundError';
        if (gone || /not found|already completed/i.test(text)) {
          return { kind: 'denied', denial: await this.#whyClosed(), callId };
        }
        const invalid = /ARGUMENTS_INVALID: (.*)/.exec(text)?.[1];
        if (invalid === undefined) throw asActGuardError(error, this.#run);
        return { kind: 'denied', denial: deny('ARGUMENTS_INVALID', invalid, 'mend the call', {}), callId };
      }
    }
  }

  /** A session that could not be opened says why; any other is closed. */
  async #whyClosed(): Promise<Denial> {
    try {
      const { status, denials } = (await this.handle.result()) as RunResult;
      if (status === 'failed' && denials[0]) return denials[0];
    } catch {
      // it was terminated, or is gone: closed, too
    }
    return deny('CONFLICT', 'the session is closed', 'open a new session', { session: this.#session });
  }
}

function messagesOf(error: unknown): string {
  const own = error instanceof Error ? error.message : '';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : '';
  return `${own} ${cause}`;
}
