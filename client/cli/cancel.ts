/** `actguard cancel RUN`: the run stops; what is under way finishes and is recorded. */
import type { Command } from 'commander';
import { type Doors, withActguard } from './doors.ts';

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('cancel')
    .description('stop one run: what is under way is settled and recorded')
    .argument('<run>', 'the run')
    .action((id: string) =>
      withActguard(doors, async (actguard) => {
        const run = actguard.run(id);
        await run.cancel();
        doors.line('asked to stop; waiting for what is under way');
        const { status } = await run.result();
        doors.line(`${status}    ${id}`);
        doors.json({ run: id, status });
      }),
    );
}
