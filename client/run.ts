/** One governed run, as its caller sees it. */
import { WorkflowFailedError, type Client, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { Database } from '../activities/deps.ts';
import { ERROR_CODES, ActGuardError, type ErrorCode, isActGuardError } from '../governance/errors.ts';
import type { RunResult } from '../governance/call.ts';
import { stateQuery, type RunState } from '../workflows/messages.ts';
import { readable } from './data-converter.ts';
import { eventsOf, type EventsOptions, type RunEvent } from './events.ts';
import { workflowIdOf } from '../workflows/ids.ts';

/** A run that was started; get one with `actguard.start` or `actguard.run(id)`. */
export class Run {
  /** The run's ULID. */
  readonly id: string;
  /** Its page in Temporal's Web UI, where that is known. */
  readonly url: string | null;
  readonly #handle: WorkflowHandle;
  readonly #db: () => Database;
  readonly #kept: boolean;

  /** @internal */
  constructor(client: Client, id: string, url: string | null, db: () => Database, kept = false) {
    this.#kept = kept;
    this.id = id;
    this.url = url;
    this.#db = db;
    this.#handle = client.workflow.getHandle(workflowIdOf(id));
  }

  /** Waits for the end. A run that ends badly is a result, too; throws only when the run cannot be read. */
  async result(): Promise<RunResult> {
    try {
      if (this.#kept) await this.#handle.describe(); // the only thing that the tenant's guard does not see by itself
      return readable((await this.#handle.result()) as RunResult);
    } catch (error) {
      throw asActGuardError(error, this.id);
    }
  }

  /** What the run is doing now. @throws NOT_FOUND, BACKEND_UNAVAILABLE when no worker answers */
  async state(): Promise<RunState> {
    try {
      return readable(await this.#handle.query(stateQuery));
    } catch (error) {
      throw asActGuardError(error, this.id);
    }
  }

  /**
   * What happens, from the beginning and until the end: entries as they are recorded, and what the model says, while it
   * says it (`delta`) and in full (`text`). A turn is streamed to those who were there when it began.
   *
   * @example
   * for await (const event of run.events()) if (event.kind === 'delta') screen.write(event.text);
   * @throws NOT_FOUND, BACKEND_UNAVAILABLE
   */
  events(options: EventsOptions = {}): AsyncGenerator<RunEvent, void, void> {
    return eventsOf(this.#db(), this.id, this.result(), options);
  }

  /** Asks the run to stop: what is under way finishes, everything is settled and recorded. */
  async cancel(): Promise<void> {
    try {
      await this.#handle.cancel();
    } catch (error) {
      throw asActGuardError(error, this.id);
    }
  }
}

/** Temporal's errors in our words. */
export function asActGuardError(error: unknown, run: string): ActGuardError {
  if (isActGuardError(error)) return error;
  const name = error instanceof Error ? error.name : '';
  if (name === 'WorkflowNotFoundError') {
    return new ActGuardError('NOT_FOUND', `there is no run \`${run}\``, {
      details: { run },
      hint: 'see what there is with `actguard runs`',
    });
  }
  if (error instanceof WorkflowFailedError) {
    const { cause } = error;
    if (cause instanceof ApplicationFailure && ERROR_CODES.includes(cause.type as ErrorCode)) {
      return new ActGuardError(cause.type as ErrorCode, cause.message, { details: { run }, cause: error });
    }
    const ended =
      cause?.name === 'TerminatedFailure'
        ? 'was terminated'
        : cause?.name === 'CancelledFailure'
          ? 'was cancelled'
          : 'failed';
    return new ActGuardError('CONFLICT', `run \`${run}\` ${ended}: ${cause?.message ?? ''}`, {
      details: { run },
      cause: error,
    });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new ActGuardError('BACKEND_UNAVAILABLE', `run \`${run}\` cannot be read: ${message}`, {
    details: { run },
    hint: 'is a worker running? `actguard doctor` tells more',
    cause: error,
  });
}
