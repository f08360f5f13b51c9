/** `actguard questions`: calls whose outcome nobody knows, and what each waits for. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { listQuestions, type ListedQuestion } from '../questions.ts';
import { type Doors, connected } from './doors.ts';
import { visible } from './show-approval.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('questions')
    .description('list calls whose outcome nobody knows, and what each waits for')
    .option('--tenant <tenant>', 'only those of this tenant')
    .action(async (options: { tenant?: string }) => {
      await connected(doors, async ({ db }) => {
        const questions = await listQuestions(db, options.tenant ?? null);
        doors.json({ questions: questions as unknown as Json });
        if (questions.length === 0) doors.line('no outcome is unknown');
        for (const question of questions) {
          doors.line(
            `${question.run}/${visible(question.call)}  ${visible(question.tool)}  ${visible(question.tenant)}  since ${new Date(question.openedAtMs).toISOString()}`,
          );
          doors.line(`    ${visible(question.reason ?? 'nobody saw what became of it')}; ${waitsFor(question)}`);
        }
      });
    });
}

function waitsFor({ run, call, needsPerson, askAfterMs, settledAtMs, nowMs }: ListedQuestion): string {
  if (!needsPerson && askAfterMs !== null) return `its receiver is asked at ${new Date(askAfterMs).toISOString()}`;
  const early = settledAtMs > nowMs ? `; "did not happen" can be said from ${new Date(settledAtMs).toISOString()}` : '';
  return `a person has to say: actguard resolve ${run}/${visible(call)} --reason "..."${early}`;
}
