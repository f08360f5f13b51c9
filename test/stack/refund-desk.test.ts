/** The commands as people type them, on one dev stack around the refund desk: each test goes on where the last one ended. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SERVICE_KEY, startWorld, worldEnvironment, type World } from '../../examples/refund-desk/world.ts';
import { listApprovals } from '../../client/approvals.ts';
import { connect, type ActGuard } from '../../client/index.ts';
import type { RunResult } from '../../governance/call.ts';
import { startDevStack, type DevStack } from '../../worker/dev-stack.ts';
import { listMails } from '../../worker/mail-server.ts';
import type { RunState } from '../../workflows/messages.ts';
import { workflowIdOf } from '../../workflows/ids.ts';

const BIN = resolve('bin/actguard.mjs');
const ALICE = ['--user', 'alice', '--tenant', 'acme'];

const directory = mkdtempSync(join(tmpdir(), 'actguard-desk-'));
let world: World;
let stack: DevStack;
let actguard: ActGuard;

beforeAll(async () => {
  chmodSync(directory, 0o711); // Postgres may run as another user
  const desk = resolve('examples/refund-desk');
  writeFileSync(
    join(directory, 'actguard.config.ts'),
    `import { defineAgent, defineConfig } from 'actguard';
import desk from ${JSON.stringify(join(desk, 'actguard.config.ts'))};
const { tools } = desk;
export default defineConfig({
  tools,
  agents: [
    ...desk.agents,
    defineAgent({ name: 'patient-desk', model: 'openai/gpt-5-mini', instructions: 'Refund.', tools, maxOutputTokens: 500, onExhausted: 'pause' }),
  ],
  policies: ${JSON.stringify(join(desk, 'policies'))},
  budgets: { run: { usd: 0.5, tokens: 200_000 } },
  approvals: { notify: ['finance@localhost'] },
});
`,
  );
  mkdirSync(join(directory, 'below'));
  world = await startWorld(join(directory, 'books'));
  Object.assign(process.env, worldEnvironment(world));
  const started = await startDevStack({ directory, ports: { temporal: 0, ui: 0, postgres: 0, mail: 0, page: 0 } });
  if (started.kind !== 'started') throw new Error('a stack runs in a new folder');
  stack = started;
  actguard = await connect({ cwd: directory });
});

afterAll(async () => {
  await actguard?.close();
  await stack?.stop();
  await world?.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface Ended {
  readonly status: number | null;
  readonly stderr: string;
  readonly stdout: string;
  /** The last line of `--output json`. */
  readonly json: Record<string, never>;
}

/** A command in a folder below the project, with addresses of other platforms in the environment. */
function cli(args: readonly string[]): Promise<Ended> {
  const env = { ...process.env, TEMPORAL_ADDRESS: 'poison.invalid:1', ACTGUARD_DATABASE_URL: 'postgres://poison/x' };
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: join(directory, 'below'),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
  return new Promise((done) =>
    child.on('close', (status) => {
      const last = stdout.trimEnd().split('\n').at(-1) ?? '';
      done({ status, stdout, stderr, json: last.startsWith('{') ? (JSON.parse(last) as Ended['json']) : {} });
    }),
  );
}

const json = (...args: string[]): Promise<Ended> => cli([...args, '--output', 'json']);

async function shows(run: string, holds: (state: RunState) => boolean): Promise<RunState> {
  for (;;) {
    const state = await actguard.run(run).state().catch(() => null); // prettier-ignore
    if (state && holds(state)) return state;
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function detached(...args: string[]): Promise<string> {
  const { status, json: started } = await json('run', ...args, ...ALICE, '--detach');
  expect(status).toBe(0);
  return started['run'] as unknown as string;
}

const refunds = async (orderId: string): Promise<number> =>
  (await world.books()).filter((r) => r.orderId === orderId).length;

const ids: { answered?: string; approved?: string; rejected?: string; cancelled?: string } = {};

test('run: answered, exit 0, with what it used; the stack here counts, not a poisoned variable', async () => {
  const { status, json: result, stderr } = await json('run', 'refund-desk', 'Refund order 1042', ...ALICE);
  expect(stderr).toBe('');
  expect(result).toMatchObject({ status: 'answered', text: 'Order 1042 is refunded: $42.00.', denials: [] });
  expect((result as unknown as RunResult).usage.usdMicros).toBeGreaterThan(0);
  expect(status).toBe(0);
  expect(await refunds('1042')).toBe(1);
  ids.answered = result['run'];
});

test('bad input: budgets that are none end with 3 and name the field, nothing is started; an unknown agent is named', async () => {
  const before = (await json('runs')).json['runs'] as unknown as unknown[];
  const wrong = await Promise.all([
    json('run', 'refund-desk', 'Refund order 1042', ...ALICE, '--budget-usd', '0'),
    json('run', 'refund-desk', 'Refund order 1042', ...ALICE, '--budget-usd', '-1'),
    json('run', 'refund-desk', 'Refund order 1042', ...ALICE, '--budget-usd', 'lots'),
    json('run', 'refund-desk', 'Refund order 1042', ...ALICE, '--budget-tokens', 'lots'),
  ]);
  expect(wrong.map((w) => w.status)).toEqual([3, 3, 3, 3]);
  for (const { stderr } of wrong) expect(stderr).toMatch(/^ARGUMENTS_INVALID: .*(usd|tokens)/);
  expect((await json('runs')).json['runs']).toHaveLength(before.length);
  const unknown = await json('run', 'nobody-desk', 'Refund order 1042', ...ALICE);

  expect(unknown.status).toBe(1);
  expect(unknown.stderr).toMatch(/^NOT_FOUND: .*\n.*`nobody-desk`.*refund-desk/);
});

test('P4 an ask is listed, shown and rejected: nothing happens, the run ends with 2', async () => {
  const run = json('run', 'refund-desk', 'Refund order 1077', ...ALICE);
  const [approval] = await openApprovals();
  const listed = (await json('approvals')).json['approvals'] as unknown as { approvalId: string }[];
  expect(listed.map((a) => a.approvalId)).toEqual([approval?.approvalId]);
  const { status, stdout } = await cli(['reject', approval?.approvalId ?? '', '--yes']);
  expect(status).toBe(0);
  for (const line of ['Refund $412.00 for order 1077', '"amountCents": 41200', 'refunds-over-100', 'agent refund-desk'])
    expect(stdout).toContain(line);
  const { status: code, json: result, stderr } = await run;
  expect(result).toMatchObject({ status: 'answered', denials: [{ code: 'APPROVAL_REJECTED' }] });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^APPROVAL_REJECTED: /);
  ids.rejected = result['run'];
  expect(await refunds('1077')).toBe(0);
});

test('P4 a frozen run goes on only after a signed thaw, then is approved with the dev key and runs once', async () => {
  const run = json('run', 'refund-desk', 'Refund order 1077', ...ALICE);
  const [approval] = await openApprovals();
  const id = approval?.run ?? '';
  expect(await json('freeze', id, '--reason', 'looks odd')).toMatchObject({ status: 0, json: { frozen: true } });
  expect(await actguard.run(id).state()).toMatchObject({ frozen: { reason: 'looks odd' } });
  expect(await json('thaw', id, '--reason', 'it is fine')).toMatchObject({ status: 0, json: { frozen: false } });
  const shown = await cli(['show', id]);
  for (const word of ['waiting-approval', 'actguard approve', "needs a person's yes", 'thawed by'])
    expect(shown.stdout).toContain(word);
  const approved = await json('approve', approval?.approvalId ?? '');
  expect(approved).toMatchObject({ status: 0, json: { counted: true, decision: 'approve' } });
  expect(await run).toMatchObject({ status: 0, json: { status: 'answered', run: id } });
  expect(await refunds('1077')).toBe(1);
  ids.approved = id;
  const late = await json('approve', approval?.approvalId ?? '');
  expect(late).toMatchObject({ status: 1, json: { error: { code: 'CONFLICT' } } });
});

test('BU6 an exhausted run waits; a topup that is none is refused, a signed one lets it go on; another one is cancelled', async () => {
  const [paused, unwanted] = await Promise.all([
    detached('patient-desk', 'Refund order 1055 twice', '--budget-usd', '0.0001'),
    detached('patient-desk', 'Look into order 1313', '--budget-usd', '0.0001'),
  ]);
  await Promise.all([paused, unwanted].map((run) => shows(run, (state) => state.status === 'exhausted')));
  expect((await json('topup', paused, '--usd', '0')).status).toBe(3);
  expect((await json('topup', paused, '--usd', '0.25')).json).toMatchObject({ limit: { usdMicros: 250_100 } });
  expect(await actguard.run(paused).result()).toMatchObject({ status: 'answered' });
  expect(await refunds('1055')).toBe(1);
  expect(await json('cancel', unwanted)).toMatchObject({ status: 0, json: { status: 'stopped' } });
  ids.cancelled = unwanted;
});

test('runs are listed by tenant, agent and status; a quote in a filter is only a quote', async () => {
  const [all, patient, stopped, none] = await Promise.all(
    [[], ['--agent', 'patient-desk'], ['--status', 'stopped'], ['--tenant', "x' OR ''='"]].map((filter) =>
      json('runs', ...filter),
    ),
  );
  const runsOf = (ended?: Ended) => (ended?.json['runs'] as unknown as { run: string }[]).map((r) => r.run);
  expect(runsOf(all)).toEqual(expect.arrayContaining([ids.answered, ids.approved, ids.rejected, ids.cancelled]));
  expect(runsOf(patient)).toHaveLength(2);
  expect(runsOf(stopped)).toEqual([ids.cancelled]);
  expect(runsOf(none)).toEqual([]);
  const nowhere = await json('show', '01AAAAAAAAAAAAAAAAAAAAAAAA');
  expect(nowhere).toMatchObject({ status: 1, json: { error: { code: 'NOT_FOUND' } } });
});

test('P1 the ledger: every started call has its outcome; filters hold; pages neither repeat nor skip', async () => {
  const run = ids.approved ?? '';
  const [whole, denied, refund, bad] = await Promise.all([
    json('ledger', 'list', '--run', run, '--limit', '1000'),
    json('ledger', 'list', '--kind', 'call.denied'),
    json('ledger', 'list', '--run', run, '--tool', 'payments.refund'),
    json('ledger', 'list', '--limit', 'lots'),
  ]);
  type Listed = { id: number; kind: string; call: string | null; body: string };
  const entries = (ended?: Ended): Listed[] => ended?.json['entries'] as unknown as Listed[];
  const of = (...kinds: string[]) => entries(whole).filter((e) => kinds.includes(e.kind)).map((e) => e.call); // prettier-ignore
  expect(of('call.started').toSorted()).toEqual(of('call.succeeded', 'call.failed').toSorted());
  expect(new Set(entries(denied).map((e) => e.kind))).toEqual(new Set(['call.denied']));
  expect(entries(refund).map((e) => e.kind)).toEqual(
    expect.arrayContaining(['call.asked', 'call.started', 'call.succeeded']),
  );
  expect(entries(refund).every((e) => e.body.includes('payments.refund'))).toBe(true);
  expect(bad?.status).toBe(3);
  expect(entries(whole).map((e) => e.kind)).toEqual(
    expect.arrayContaining(['run.opened', 'run.frozen', 'run.thawed', 'approval.granted', 'run.closed']),
  );
  const paged: Listed[] = [];
  const size = Math.ceil(entries(whole).length / 3);
  for (let page: Listed[] | null = null; page === null || page.length === size;) {
    const after = paged.at(-1)?.id;
    const more = after === undefined ? [] : ['--after', String(after)];
    page = entries(await json('ledger', 'list', '--run', run, '--limit', String(size), ...more));
    paged.push(...page);
  }
  // the janitor may have compared the run with its history meanwhile
  const lasting = (of: Listed[]): Listed[] => of.filter((e) => e.kind !== 'run.reconciled');
  expect(lasting(paged)).toEqual(lasting(entries(whole)));
});

test('doctor finds nothing wrong on a live stack', async () => {
  const { status, json: found } = await json('doctor');
  const checks = found['checks'] as unknown as { state: string; name: string; detail: string }[];
  expect(checks.filter((check) => check.state === 'fail')).toEqual([]);
  expect(status).toBe(0);
});

test('a person can read a history: every call says tool and object', async () => {
  const summaries = await summariesOf(ids.approved ?? '');
  expect(summaries).toEqual(expect.arrayContaining(['orders.find orderId 1077', 'payments.refund orderId 1077']));
  expect(summaries.filter((summary) => summary.length < 5)).toEqual([]);
});

test('P5 the key of the payment service stands nowhere: not in histories, tables, logs, mails or files', async () => {
  const histories = await Promise.all(Object.values(ids).map((run) => historyText(run)));
  // as its owner: workers and clients may not read tables
  const owner = new pg.Client({ connectionString: stack.file().postgres?.url });
  await owner.connect();
  const tables = await owner.query<{ name: string }>(
    `select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables where schemaname = 'actguard'`,
  );
  const dump: string[] = [];
  for (const { name } of tables.rows) {
    const { rows } = await owner.query<{ row: string }>(`select to_jsonb(t)::text as row from ${name} t`);
    dump.push(...rows.map((r) => r.row));
  }
  await owner.end();
  const text = [...histories, ...dump].join('\n');
  const files = filesBelow(stack.stateDirectory);
  const holders = (needle: string): string[] => [
    ...(text.includes(needle) ? ['history or table'] : []),
    ...files.filter((file) => readFileSync(file).includes(needle)),
  ];
  expect(holders('orders.find').length).toBeGreaterThan(2); // what is there is found
  for (const form of [
    SERVICE_KEY,
    Buffer.from(SERVICE_KEY).toString('base64'),
    Buffer.from(SERVICE_KEY).toString('hex'),
  ])
    expect(holders(form)).toEqual([]);
});

test('mails say that somebody is asked and where to look; no argument, no link that approves', async () => {
  const mails = await listMails(join(stack.stateDirectory, 'mail'));
  const asks = mails.filter((mail) => mail.subject.includes('Approval needed'));
  expect(asks.length).toBe(2);
  expect(mails.some((mail) => mail.subject.includes('Budget') && mail.text.includes('is used up'))).toBe(true);
  for (const mail of mails) {
    expect(mail.to).toBe('finance@localhost');
    // the only address is the ask on the approval page, which shows nothing before a sign-in
    const raw = readFileSync(mail.file, 'utf8').replaceAll('=\r\n', '');
    for (const [url] of raw.matchAll(/https?:[^\s"<]*/gi))
      expect(url).toMatch(/^http:\/\/localhost:\d+\/asks\/[0-9A-Z]{26}$/);
    expect(`${mail.subject} ${mail.text}`.replaceAll(/[0-9A-Z]{26}/g, 'ID')).not.toMatch(/1077|412|41200|1055|1313/);
  }
  expect(asks.map((mail) => mail.text).join('\n')).toContain('actguard approve');
});

async function openApprovals(): Promise<readonly { approvalId: string; run: string }[]> {
  for (;;) {
    const open = await listApprovals(actguard.db, { state: 'open' });
    if (open.length > 0) return open;
    await new Promise((done) => setTimeout(done, 100));
  }
}

type Event = {
  userMetadata?: { summary?: { data?: Uint8Array | null } | null } | null;
  activityTaskScheduledEventAttributes?: { activityType?: { name?: string | null } | null } | null;
};

async function eventsOf(run: string): Promise<Event[]> {
  const { events } = await actguard.client.workflow.getHandle(workflowIdOf(run)).fetchHistory();
  return (events ?? []) as Event[];
}

async function summariesOf(run: string): Promise<string[]> {
  return (await eventsOf(run))
    .filter((event) => /^call/.test(event.activityTaskScheduledEventAttributes?.activityType?.name ?? ''))
    .map((event) => {
      const data = event.userMetadata?.summary?.data;
      return data ? (JSON.parse(Buffer.from(data).toString()) as string) : '';
    });
}

/** Everything of a history, payloads as text. */
async function historyText(run: string): Promise<string> {
  return JSON.stringify(await eventsOf(run), (_name, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
  );
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}
