/** `actguard gateway`: the approval page against your own Temporal and Postgres; `actguard dev` has it built in. */
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { type Command, InvalidArgumentError } from 'commander';
import { ActGuardError } from '../../governance/errors.ts';
import type { Io } from './io.ts';
import { stopped } from './stopped.ts';

interface GatewayCommand {
  readonly config?: string;
  readonly host: string;
  readonly port: number;
}

/** Registers the command. */
export function register(program: Command, io: Io): void {
  program
    .command('gateway')
    .description('serve the approval page at the origin that `approvals.page` names; put TLS in front of it')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .option('--host <address>', 'where it listens: loopback, for a proxy on this machine', '127.0.0.1')
    .option('--port <port>', 'its port', port, 8400)
    .action((options: GatewayCommand) => serve(options, io));
}

async function serve(options: GatewayCommand, io: Io): Promise<void> {
  const stop = stopped();
  const databaseUrl = process.env['ACTGUARD_DATABASE_URL'];
  if (!databaseUrl) {
    throw new ActGuardError('CONFIG_INVALID', 'nothing says where Postgres is', {
      hint: 'set ACTGUARD_DATABASE_URL, or run `actguard dev`, which has the page built in',
    });
  }
  // loaded here: the rest of the command line needs neither a configuration nor a server
  const [{ loadConfig }, { runGateway, requirePasskeys, jsonLog }] = await Promise.all([
    import('../../worker/load-config.ts'),
    import('../../worker/gateway.ts'),
  ]);
  const { config } = await loadConfig(options.config);
  const passkeys = requirePasskeys(config.approvals.passkeys);
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const page = await runGateway({
    host: options.host,
    port: options.port,
    temporal: { ...connectionOptions, namespace: namespace ?? 'default' },
    databaseUrl,
    roots: config.approvals.roots,
    dev: false,
    passkeys,
    log: jsonLog,
  });
  io.json({ origin: passkeys.origins[0] ?? '', host: options.host, port: page.port });
  io.line(`the approval page of ${passkeys.origins[0] ?? ''} listens on ${options.host}:${page.port}`);
  await stop;
  await page.stop();
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError('a port is a number up to 65535');
  return value;
}
