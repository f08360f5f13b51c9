import { generateText, isStepCount } from 'ai';
import { tools } from './tools.ts';

export async function answer(ticket: string, user: string, prompt: string): Promise<string> {
  console.log(`${ticket}: ${user} asks`);
  const { text } = await generateText({
    model: 'openai/gpt-5-mini',
    tools,
    stopWhen: isStepCount(8),
    prompt,
  });
  return text;
}
