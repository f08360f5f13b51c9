import { generateText, isStepCount } from 'ai';
import { openSession } from 'actguard/ai-sdk';
import { support } from './actguard.config.ts';

export async function answer(ticket: string, user: string, prompt: string): Promise<string> {
  console.log(`${ticket}: ${user} asks`);
  await using session = await openSession({ id: ticket, agent: support, user, tenant: 'acme' });
  const { text } = await generateText({
    model: session.model('openai/gpt-5-mini'),
    tools: session.tools(),
    stopWhen: isStepCount(8),
    prompt,
  });
  return text;
}
