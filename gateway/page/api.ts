/** Talking to our own server: JSON both ways; whatever goes wrong is one sentence for people. */
import type { ApprovalContent } from '../../governance/approval.ts';
import type { Json } from '../../governance/json.ts';

/** Who is signed in. */
export interface Me {
  readonly tenant: string;
  readonly person: string;
  readonly keyId: string;
  readonly credential: string;
  readonly dev: boolean;
  readonly roles: readonly string[];
}

/** An ask in a list. */
export interface InboxItem {
  readonly approvalId: string;
  readonly tenant: string;
  readonly title: string;
  readonly expiresAtMs: number;
  readonly answered: boolean;
  readonly own: boolean;
}

/** An answer of mine. */
export interface HistoryItem {
  readonly approvalId: string;
  readonly tenant: string;
  readonly title: string;
  readonly decision: string;
  readonly answeredAtMs: number;
  readonly state: string;
  readonly effect: string | null;
}

/** One ask as it came; nothing in it is believed before it was checked. */
export interface AskData {
  readonly approvalId: string;
  readonly state: string;
  readonly request: string;
  readonly content: ApprovalContent | null;
  readonly nowMs: number;
  readonly answers: readonly { readonly person: string; readonly decision: string; readonly atMs: number }[];
  readonly before: readonly {
    readonly kind: string;
    readonly call: string | null;
    readonly body: string;
    readonly args: Json;
  }[];
  readonly effect: { readonly state: string; readonly kind: string | null } | null;
}

/** What an invitation says. */
export interface InvitationData {
  readonly tenant: string;
  readonly person: string;
  readonly roles: readonly string[];
  readonly signer: string;
  readonly dev: boolean;
  readonly nowMs: number;
  readonly rpId: string;
  readonly challenge: string;
}

/** A refusal: its code and a sentence. */
export class Refused extends Error {
  readonly code: string;

  constructor(code: string, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** Reads. @throws Refused */
export function get<T>(path: string): Promise<T> {
  return call<T>(path, { method: 'GET' });
}

/** Sends. @throws Refused */
export function post<T>(path: string, body: unknown): Promise<T> {
  return call<T>(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
}

async function call<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, credentials: 'same-origin', cache: 'no-store' });
  } catch {
    throw new Refused('BACKEND_UNAVAILABLE', 'the server does not answer; nothing was sent. Try again');
  }
  const body = (await response.json().catch(() => ({}))) as { code?: string; reason?: string };
  if (response.ok) return body as T;
  throw new Refused(body.code ?? 'BACKEND_UNAVAILABLE', body.reason ?? `the server answered ${response.status}`);
}
