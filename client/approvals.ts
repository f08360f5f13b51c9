/** Asks as a person works on them: read, checked against what is signed, answered. */
import { setTimeout } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { ContentDatabase } from '../activities/deps.ts';
import { type ApprovalContent, type ApprovalRequest, approvalStatement, parseRequest } from '../governance/approval.ts';
import { contentProblem } from '../governance/content.ts';
import { APPROVAL_PAYLOAD_TYPE } from '../governance/dsse.ts';
import { ActGuardError } from '../governance/errors.ts';
import { approvalSignal, type ApprovalSignal } from '../workflows/messages.ts';
import { workflowIdOf } from '../workflows/ids.ts';
import { type SigningKey, signEnvelope } from './keys.ts';

/** An ask in a list. */
export interface ListedApproval {
  readonly approvalId: string;
  readonly tenant: string;
  readonly run: string;
  readonly call: string;
  readonly title: string;
  readonly state: string;
  readonly openedAtMs: number;
  readonly expiresAtMs: number;
  readonly invalidAnswers: number;
  readonly gates: readonly string[];
  readonly answers: number;
}

/** One ask: the request as it is signed, and its content, which fits the request's commitments. */
export interface ReadApproval {
  readonly request: ApprovalRequest;
  readonly content: ApprovalContent;
  readonly state: string;
  readonly title: string;
  readonly answers: readonly { readonly person: string; readonly decision: string; readonly atMs: number }[];
}

type Rows = ContentDatabase;

/** Asks, newest first, at most 200. @throws BACKEND_UNAVAILABLE */
export async function listApprovals(
  db: Rows,
  filter: { tenant?: string; state?: string } = {},
): Promise<ListedApproval[]> {
  const rows = await db.query<{ a: ListedApproval }>('select actguard.list_approvals($1::jsonb) as a', [
    JSON.stringify(filter),
  ]);
  return rows.map(({ a }) => ({ ...a, title: db.content.showText('title', a.tenant, a.title) }));
}

/**
 * Reads an ask and checks its content against the commitments in the request: what is shown is what is signed for.
 *
 * @throws ActGuardError NOT_FOUND, APPROVAL_INVALID (content erased or changed), BACKEND_UNAVAILABLE
 */
export async function readApproval(db: Rows, approvalId: string): Promise<ReadApproval> {
  const [row] = await db.query<{
    a: {
      request: string;
      content: ApprovalContent | null;
      state: string;
      title: string;
      answers: ReadApproval['answers'];
    } | null;
  }>('select actguard.read_approval($1) as a', [approvalId]);
  if (!row?.a) {
    throw new ActGuardError('NOT_FOUND', `there is no ask \`${approvalId}\``, {
      hint: 'list them with `actguard approvals`',
    });
  }
  const { state, answers } = row.a;
  const request = parseRequest(row.a.request);
  if (request.kind === 'invalid' || request.value.approvalId !== approvalId)
    throw damaged(approvalId, 'its request is damaged');
  const { tenant } = request.value;
  const content = db.content.open('ask', tenant, row.a.content);
  const title = db.content.showText('title', tenant, row.a.title);
  const problem = contentProblem(request.value, content);
  if (problem !== null || content === null) throw damaged(approvalId, problem ?? 'its content was erased');
  return { request: request.value, content, state, title, answers };
}

/** The signal that answers a request. `reject` and `approve` are both signed: a rejection is evidence too. */
export function makeAnswer(
  request: ApprovalRequest,
  decision: 'approve' | 'reject',
  key: SigningKey,
  nowMs: number,
): ApprovalSignal {
  const payload = approvalStatement(request, decision, key.person, key.keyId, new Date(nowMs).toISOString());
  return {
    approvalId: request.approvalId,
    nonce: request.nonce,
    envelope: signEnvelope(APPROVAL_PAYLOAD_TYPE, payload, [key]),
  };
}

/** Sends an answer to the request's run; whether it counts is decided there. */
export async function sendAnswer(client: Client, request: ApprovalRequest, answer: ApprovalSignal): Promise<void> {
  await client.workflow.getHandle(workflowIdOf(request.run)).signal(approvalSignal, answer);
}

/** How often and how long {@link awaitAnswer} looks: a worker that is up answers within a second. */
const LOOK_EVERY_MS = 200;
const LOOK_FOR_MS = 15_000;

/** Waits until a person's answer counts or the ask has ended; `counted` false: it has not, in 15 s. @throws BACKEND_UNAVAILABLE */
export async function awaitAnswer(
  db: Rows,
  approvalId: string,
  person: string,
): Promise<{ counted: boolean; state: string }> {
  const until = performance.now() + LOOK_FOR_MS;
  for (;;) {
    const { state, answers } = await readApproval(db, approvalId);
    if (answers.some((a) => a.person === person)) return { counted: true, state };
    if (state !== 'open' || performance.now() > until) return { counted: false, state };
    await setTimeout(LOOK_EVERY_MS);
  }
}

function damaged(approvalId: string, why: string): ActGuardError {
  return new ActGuardError('APPROVAL_INVALID', `the ask \`${approvalId}\` cannot be answered: ${why}`, {
    hint: 'do not approve it; tell an operator',
  });
}
