/**
 * What the commands about approvals need from outside: the program that registers them gives it (client/cli/main.ts).
 * Commands throw ActGuardError; printing of errors and exit codes are the program's.
 */
import type { ContentDatabase } from '../../activities/deps.ts';
import type { ActGuard } from '../client.ts';
import type { ApprovalRequest } from '../../governance/approval.ts';
import type { Json } from '../../governance/json.ts';
import type { ApprovalSignal } from '../../workflows/messages.ts';

/** An open connection. */
export interface Connected {
  readonly db: ContentDatabase;
  /** Sends an answer to the request's run: `sendAnswer` of client/approvals.ts with a Temporal client. */
  readonly answer: (request: ApprovalRequest, signal: ApprovalSignal) => Promise<void>;
  /** The dev stack's state directory (`.actguard`); null where there is none. */
  readonly stateDirectory: string | null;
  /** Origin of the dev stack's approval page; null or absent: not known here. */
  readonly pageUrl?: string | null;
  /** Where mails go; null or absent: not known here. */
  readonly smtpUrl?: string | null;
  readonly close: () => Promise<void>;
}

/** Connection, output and questions. */
export interface Doors {
  /** A client of the platform; the command closes it. */
  readonly actguard: () => Promise<ActGuard>;
  readonly connect: () => Promise<Connected>;
  /** A line for people on standard output; silent with `--output json`. */
  readonly line: (text: string) => void;
  /** The result for machines; silent without `--output json`. */
  readonly json: (value: Json) => void;
  /** A passphrase, read without echo or from ACTGUARD_PASSPHRASE. */
  readonly passphrase: (prompt: string) => Promise<string>;
  /** A yes on the terminal; true where there is no terminal: running the command is the intent. */
  readonly confirm: (question: string) => Promise<boolean>;
}

/** Runs with a connection and closes it. */
export async function connected<T>(doors: Doors, work: (connection: Connected) => Promise<T>): Promise<T> {
  const connection = await doors.connect();
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/** Runs with a client of the platform and closes it. */
export async function withActguard<T>(doors: Doors, work: (actguard: ActGuard) => Promise<T>): Promise<T> {
  const actguard = await doors.actguard();
  try {
    return await work(actguard);
  } finally {
    await actguard.close();
  }
}
