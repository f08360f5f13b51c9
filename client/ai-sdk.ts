/**
 * `actguard/ai-sdk`: the AI SDK under ActGuard's guards. Model calls are metered against the session's budget while
 * their text streams to you; tools run in ActGuard's worker, under every guard they have.
 *
 * @example
 * import { generateText, isStepCount } from 'ai';
 * import { openSession } from 'actguard/ai-sdk';
 *
 * // or, with a connection of your own: await actguard.session({ ... }) has the same model(…) and tools()
 * await using session = await openSession({ id: 'ticket-881', agent: support, user: 'alice', tenant: 'acme' });
 * const { text } = await generateText({
 *   model: session.model('openai/gpt-5-mini'), tools: session.tools(), stopWhen: isStepCount(10), prompt,
 * });
 */
import { AiSdkSession, type AiSdkOptions } from './ai-sdk-session.ts';
import { connect, type ActGuard } from './client.ts';
import type { Session, SessionOptions } from './session.ts';

export { AiSdkSession, type AiSdkOptions } from './ai-sdk-session.ts';
export { fromAiSdk, type FromAiSdkOptions } from './ai-sdk-tool.ts';
export type { AiToolsOptions } from './ai-sdk-tools.ts';
export { BudgetExceededError } from '../governance/budget-exceeded.ts';

/**
 * The doors of a session with options of their own: other providers, another output cap. Without any, `session.model(…)` and
 * `session.tools()` stand on the session itself.
 */
export function aiSdk(session: Session, options: AiSdkOptions = {}): AiSdkSession {
  return new AiSdkSession(session, options);
}

let shared: { readonly actguard: Promise<ActGuard>; sessions: number } | null = null;

/**
 * Connects (once for a process) and opens a session for the AI SDK: `aiSdk(await actguard.session(options))`. `close`
 * ends the session, and the connection with the last one.
 *
 * @throws BACKEND_UNAVAILABLE, CONFLICT, ARGUMENTS_INVALID
 */
export async function openSession(options: SessionOptions & AiSdkOptions): Promise<AiSdkSession> {
  const { providers, maxOutputTokens, maxima, ...session } = options;
  const connection = (shared ??= { actguard: connect(), sessions: 0 });
  connection.sessions += 1;
  const leave = async (): Promise<void> => {
    connection.sessions -= 1;
    if (connection.sessions > 0) return;
    if (shared === connection) shared = null;
    await connection.actguard.then(
      (actguard) => actguard.close(),
      () => undefined,
    );
  };
  try {
    const opened = await (await connection.actguard).session(session);
    const read = {
      ...(providers ? { providers } : {}),
      ...(maxOutputTokens ? { maxOutputTokens } : {}),
      ...(maxima ? { maxima } : {}),
    };
    return new AiSdkSession(opened, read, leave);
  } catch (error) {
    await leave();
    throw error;
  }
}
