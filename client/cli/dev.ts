/** `actguard dev`: the whole platform on this machine. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { DevFile } from '../../worker/dev-file.ts';
import { startDevStack } from '../../worker/dev-stack.ts';
import type { DevEvent } from '../../worker/dev-stack.ts';
import type { Json } from '../../governance/json.ts';
import type { Io } from './io.ts';
import { EXIT } from './output.ts';

interface DevOptions {
  readonly ephemeral?: boolean;
  readonly worker: boolean;
  readonly config?: string;
  readonly init?: boolean;
  readonly temporalPort?: number;
  readonly uiPort?: number;
  readonly postgresPort?: number;
  readonly mailPort?: number;
  readonly pagePort?: number;
}

/** Registers the command. */
export function register(program: Command, io: Io): void {
  program
    .command('dev')
    .description('run Temporal with its Web UI, Postgres, a mail inbox and your worker, all on this machine')
    .option('--ephemeral', 'keep nothing: state in a temporary folder, removed at the end')
    .option('--no-worker', 'only the services')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .option('--init', 'migrate the database in ACTGUARD_DATABASE_URL although it does not carry our marker')
    .option('--temporal-port <port>', "Temporal's port (default: 7233, or a free one)", port)
    .option('--ui-port <port>', "the Web UI's port (default: 8233, or a free one)", port)
    .option('--postgres-port <port>', "Postgres's port (default: 5433, or a free one)", port)
    .option('--mail-port <port>', "the inbox's port (default: 1025, or a free one)", port)
    .option('--page-port <port>', "the approval page's port (default: 8400, or a free one)", port)
    .action((options: DevOptions) => dev(options, io));
}

async function dev(options: DevOptions, io: Io): Promise<void> {
  // Listening before anything starts: asked while starting, it stops as soon as it is up; asked twice, at once (what is
  // left then is ended by the next start).
  let starting = true;
  let times = 0;
  const asked = new Promise<'asked'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        times += 1;
        if (starting && times > 1) process.exit(EXIT.failed);
        resolve('asked');
      });
    }
  });
  const stack = await startDevStack({
    directory: process.cwd(),
    ephemeral: options.ephemeral ?? false,
    noWorker: !options.worker,
    init: options.init ?? false,
    ...(options.config === undefined ? {} : { configPath: options.config }),
    ports: {
      ...(options.temporalPort === undefined ? {} : { temporal: options.temporalPort }),
      ...(options.uiPort === undefined ? {} : { ui: options.uiPort }),
      ...(options.postgresPort === undefined ? {} : { postgres: options.postgresPort }),
      ...(options.mailPort === undefined ? {} : { mail: options.mailPort }),
      ...(options.pagePort === undefined ? {} : { page: options.pagePort }),
    },
    onEvent: (event) => say(event, io),
  });
  starting = false;
  if (stack.kind === 'running') {
    io.json({ running: publicView(stack.file) });
    io.line(`a dev stack runs here already (pid ${stack.file.pid})`);
    describe(stack.file, io);
    io.exitWith(EXIT.failed);
    return;
  }
  io.json({ ready: publicView(stack.file()), stateDirectory: stack.stateDirectory });
  io.line('actguard dev is ready');
  describe(stack.file(), io);
  io.line(`  state      ${stack.stateDirectory}`);
  io.line('Ctrl-C stops it; state stays');
  const why = await Promise.race([asked, stack.broken]);
  io.progress(
    why === 'asked' ? 'stopping' : `${why} ended by itself; stopping the rest (see ${stack.stateDirectory}/logs)`,
  );
  await stack.stop();
  if (why !== 'asked') io.exitWith(EXIT.failed);
}

function describe(file: DevFile, io: Io): void {
  if (file.temporal?.ui) io.line(`  Web UI     ${file.temporal.ui}`);
  if (file.temporal) io.line(`  Temporal   ${file.temporal.address}`);
  if (file.postgres) io.line(`  Postgres   ${withoutPassword(file.postgres.url)}`);
  if (file.mail?.directory) io.line(`  mail       ${withoutPassword(file.mail.smtp)}, kept in ${file.mail.directory}`);
  else if (file.mail) io.line(`  mail       ${withoutPassword(file.mail.smtp)}`);
  if (file.page) io.line(`  approvals  ${file.page.url}`);
  io.line(`  worker     ${file.worker ? `pid ${file.worker.pid}` : 'none'}`);
}

function publicView(file: DevFile): Json {
  return {
    pid: file.pid,
    temporal: file.temporal ?? null,
    postgres: file.postgres ? { url: withoutPassword(file.postgres.url) } : null,
    mail: file.mail ? { ...file.mail, smtp: withoutPassword(file.mail.smtp) } : null,
    page: file.page ?? null,
    worker: file.worker,
    startedAt: file.startedAt,
  };
}

function say(event: DevEvent, io: Io): void {
  switch (event.kind) {
    case 'progress':
      return io.progress(event.message);
    case 'worker-ready':
      return io.progress(`the worker runs (pid ${event.pid})`);
    case 'worker-failed':
      io.progress(`${event.code}: ${event.message}`);
      if (event.hint !== null) io.progress(event.hint);
      return io.progress('the worker does not run; it is tried again when a file of the project changes');
    case 'worker-restarting':
      return io.progress(event.why);
    case 'ended':
      return io.progress(`${event.name} ended (${event.how})`);
    default:
      return event satisfies never;
  }
}

/** A URL as it may be shown. */
export function withoutPassword(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.password !== '') parsed.password = '***';
    return parsed.href;
  } catch {
    return '(malformed)';
  }
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535)
    throw new InvalidArgumentError('a port is a number from 0 (any free one) to 65535');
  return value;
}
