/** `actguard runs`: what is running, and what ran. */
import type { Command } from 'commander';
import type { Json } from '../../governance/json.ts';
import { type Doors, withActguard } from './doors.ts';
import { visible } from './show-approval.ts';

interface Flags {
  readonly tenant?: string;
  readonly agent?: string;
  readonly status?: string;
  readonly open?: boolean;
  readonly limit: string;
}

/** Registers the command. */
export function register(program: Command, doors: Doors): void {
  program
    .command('runs')
    .description('list runs, newest first')
    .option('--tenant <tenant>', 'only of this tenant')
    .option('--agent <agent>', 'only of this agent')
    .option('--status <status>', 'only in this status: running, waiting-approval, exhausted, answered …')
    .option('--open', 'only those that have not ended')
    .option('--limit <n>', 'at most so many', '20')
    .action((flags: Flags) =>
      withActguard(doors, async (actguard) => {
        const rows: {
          run: string;
          agent: string;
          tenant: string;
          status: string;
          startedAt: string;
          spentUsd: number | null;
        }[] = [];
        const most = Math.min(Math.max(1, Number(flags.limit) || 20), 1_000);
        for await (const info of actguard.client.workflow.list({
          query: queryOf(actguard.target.tenant === undefined ? flags : { ...flags, tenant: actguard.target.tenant }),
          pageSize: Math.min(most, 100),
        })) {
          const attribute = (name: string): unknown => info.searchAttributes[name]?.[0];
          rows.push({
            run: info.workflowId.replace(/^actguard-run-/, ''),
            agent: String(attribute('ActGuardAgent') ?? ''),
            tenant: String(attribute('ActGuardTenant') ?? ''),
            status:
              info.status.name === 'TERMINATED'
                ? 'terminated'
                : String(attribute('ActGuardStatus') ?? info.status.name.toLowerCase()),
            startedAt: info.startTime.toISOString(),
            spentUsd: (attribute('ActGuardSpendUsd') as number | undefined) ?? null,
          });
          if (rows.length >= most) break;
        }
        doors.json({ runs: rows as unknown as Json });
        if (rows.length === 0) doors.line('no runs yet: start one with `actguard run AGENT "..."`');
        for (const r of rows) {
          const spent = r.spentUsd === null ? '' : `  $${r.spentUsd}`;
          doors.line(
            `${r.run}  ${r.status.padEnd(18)}  ${visible(r.agent)}  ${visible(r.tenant)}  ${r.startedAt}${spent}`,
          );
        }
      }),
    );
}

/** A visibility query; values are quoted, quotes in them doubled. */
function queryOf(flags: Flags): string {
  const is = (name: string, value: string): string => `${name} = '${value.replaceAll('\\', '').replaceAll("'", "''")}'`;
  return [
    `WorkflowType IN ('agentRun', 'session')`,
    ...(flags.tenant === undefined ? [] : [is('ActGuardTenant', flags.tenant)]),
    ...(flags.agent === undefined ? [] : [is('ActGuardAgent', flags.agent)]),
    ...(flags.status === undefined ? [] : [is('ActGuardStatus', flags.status)]),
    ...(flags.open ? [`ExecutionStatus = 'Running'`] : []),
  ].join(' AND ');
}
