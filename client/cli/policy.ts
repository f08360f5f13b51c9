/** `actguard policy check` and `actguard policy schema`: whether the policies load, and what they may talk about. */
import { relative } from 'node:path';
import type { Command } from 'commander';
import type { PolicySummary } from '../../activities/policy.ts';
import type { Json } from '../../governance/json.ts';
import type { Io } from './io.ts';
import { registerActive } from './policy-active.ts';
import { registerAuthor } from './policy-author.ts';

type Printer = Pick<Io, 'line' | 'json'>;

/** Registers the commands. */
export function register(program: Command, io: Io): void {
  const policy = program.command('policy').description('the policies that decide what agents may do');
  policy
    .command('check')
    .description('load the policies as a worker would; exit 3 lists every problem with its line')
    .argument('[dir]', 'folder of *.cedar files; default: `policies` of your config')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .action((directory: string | undefined, options: { config?: string }) => check(directory, options.config, io));
  policy
    .command('schema')
    .description('print the Cedar schema that is generated from your tools, for your editor')
    .option('--config <file>', 'your actguard.config.ts; default: found from here upwards')
    .action((options: { config?: string }) => schema(options.config, io));
  registerActive(policy, io);
  registerAuthor(policy, io);
}

async function check(directory: string | undefined, configPath: string | undefined, io: Printer): Promise<void> {
  const { checkPolicies } = await import('../../worker/policy.ts');
  const { folder, policies: set } = await checkPolicies({
    ...(configPath === undefined ? {} : { configPath }),
    ...(directory === undefined ? {} : { directory }),
  });
  const { digest, policies } = set;
  io.json({ folder, digest, policies: policies as unknown as Json });
  for (const summary of policies) io.line(describe(summary));
  const count = policies.length === 1 ? '1 policy loads' : `${policies.length} policies load`;
  io.line(`${count} from ${relative(process.cwd(), folder) || '.'}`);
  io.line(`digest ${digest}`);
}

function describe({ id, effect, file, gate }: PolicySummary): string {
  const asks =
    gate === null
      ? ''
      : `  asks ${gate.quorum} of ${gate.roles.join(', ')}${gate.key === 'webauthn' ? ', by passkey' : ''}`;
  return `${effect.padEnd(6)}  ${id}${id.startsWith(`${file}#`) ? '' : ` (${file})`}${asks}`;
}

async function schema(configPath: string | undefined, io: Printer): Promise<void> {
  const { policySchema } = await import('../../worker/policy.ts');
  const { text, json } = await policySchema(configPath === undefined ? {} : { configPath });
  io.json(json as unknown as Json);
  io.line(text.trimEnd());
}
