/** The tools of agents that are known by name only: a worker is asked once a minute, and no session's history shows it. */
import { randomBytes } from 'node:crypto';
import type { AgentInput, AgentResult } from '../activities/request-types.ts';
import { quote } from '../governance/denial.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { OfferedTool } from '../governance/tool.ts';

/** What is known of an agent's tools; the error is thrown where somebody asks for them. */
export type KnownTools =
  | { readonly kind: 'known'; readonly tools: readonly OfferedTool[] }
  | { readonly kind: 'unknown'; readonly error: ActGuardError };

/** A worker answers within milliseconds; a session is opened without it, too. */
export const DESCRIBE_WITHIN_MS = 5_000;
const KEPT_MS = 60_000;

/** Asks the worker of a connection, and remembers. */
export class AgentTools {
  readonly #ask: (input: AgentInput) => Promise<AgentResult>;
  readonly #known = new Map<string, { readonly untilMs: number; readonly answer: Promise<KnownTools> }>();

  constructor(ask: (input: AgentInput) => Promise<AgentResult>) {
    this.#ask = ask;
  }

  /** Never rejects. */
  of(agent: string): Promise<KnownTools> {
    const known = this.#known.get(agent);
    if (known && known.untilMs > Date.now()) return known.answer;
    const answer = this.#read(agent);
    this.#known.set(agent, { untilMs: Date.now() + KEPT_MS, answer });
    void answer.then(({ kind }) => kind === 'unknown' && this.#known.delete(agent));
    return answer;
  }

  async #read(agent: string): Promise<KnownTools> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), DESCRIBE_WITHIN_MS);
    });
    try {
      const asked = this.#ask({ v: 1, kind: 'agent', nonce: randomBytes(16).toString('hex'), agent });
      const answer = await Promise.race([asked, late]);
      asked.catch(() => undefined);
      if (answer?.kind === 'agent') return { kind: 'known', tools: answer.tools };
      return unknown(agent, answer?.reason ?? 'no worker has answered', answer === null);
    } catch (error) {
      return unknown(agent, error instanceof Error ? error.message : String(error), true);
    } finally {
      clearTimeout(timer);
    }
  }
}

function unknown(agent: string, reason: string, away: boolean): KnownTools {
  const message = `the tools of agent ${quote(agent)} are not known here: ${reason}`;
  const hint = away
    ? 'is a worker running? open the session again, with the agent itself, or give the tools: session.tools([findOrder])'
    : 'use the name of an agent of the configuration';
  return { kind: 'unknown', error: new ActGuardError(away ? 'BACKEND_UNAVAILABLE' : 'NOT_FOUND', message, { hint }) };
}
