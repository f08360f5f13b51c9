/** What every command gets: output, questions and a connection. */
import { sendAnswer } from '../approvals.ts';
import { findTarget, openClient, openDatabase } from '../connection.ts';
import type { Connected, Doors } from './doors.ts';
import type { Output } from './output.ts';

/** Given to `register(program, io)` of each command's file. */
export interface Io extends Output, Doors {}

/** Connects to the platform that is found from here. Throws BACKEND_UNAVAILABLE. */
export async function connectDoors(): Promise<Connected> {
  const target = findTarget();
  const db = openDatabase(target);
  let client: ReturnType<typeof openClient> | undefined;
  return {
    db,
    answer: async (request, signal) => sendAnswer(await (client ??= openClient(target)), request, signal),
    stateDirectory: target.stateDirectory,
    pageUrl: target.pageUrl ?? null,
    smtpUrl: target.smtpUrl ?? null,
    close: async () => {
      await db.end();
      await (await client?.catch(() => undefined))?.connection.close();
    },
  };
}
