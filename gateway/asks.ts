/** Asks for whoever is signed in: the inbox, one ask, the history, and the door for answers. */
import type { Hono } from 'hono';
import type { ContentDatabase } from '../activities/deps.ts';
import { parseRequest } from '../governance/approval.ts';
import { isActGuardError } from '../governance/errors.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import { exactObject, parsing } from '../governance/strict.ts';
import type { GatewayDeps } from './deps.ts';
import { problem, readBody } from './guard.ts';
import { notSignedIn, signedIn } from './sign-in.ts';

const ID = /^[A-Za-z0-9._:-]{1,128}$/;
const STATUS = { NOT_FOUND: 404, CONFLICT: 409, APPROVAL_INVALID: 403, BACKEND_UNAVAILABLE: 503 } as const;

/** Adds `/api/asks`, `/api/asks/:id`, `/api/asks/:id/answer`, `/api/history`. */
export function askRoutes(app: Hono, deps: GatewayDeps): void {
  app.get('/api/asks', async (c) => {
    const who = await signedIn(deps, c);
    if (!who) return notSignedIn(c);
    const rows = await deps.db.query<{ a: Listed }>('select actguard.page_inbox($1) as a', [who.tokenSha256]);
    return c.json({ asks: titled(deps.db, rows) });
  });
  app.get('/api/history', async (c) => {
    const who = await signedIn(deps, c);
    if (!who) return notSignedIn(c);
    const rows = await deps.db.query<{ a: Listed }>('select actguard.page_history($1) as a', [who.tokenSha256]);
    return c.json({ asks: titled(deps.db, rows) });
  });
  app.get('/api/asks/:id', async (c) => {
    const who = await signedIn(deps, c);
    if (!who) return notSignedIn(c);
    const id = c.req.param('id');
    const ask = ID.test(id) ? await readAsk(deps, who.tokenSha256, id) : null;
    return ask === null ? problem(c, 404, 'NOT_FOUND', 'there is no such ask for you') : c.json(ask);
  });
  app.post('/api/asks/:id/answer', async (c) => {
    const who = await signedIn(deps, c);
    if (!who) return notSignedIn(c);
    const id = c.req.param('id');
    const body = await readBody(c);
    const parsed = parsing(() => exactObject(body, ['envelope'], 'the answer'));
    if (parsed.kind === 'invalid') return problem(c, 400, 'ARGUMENTS_INVALID', parsed.reason);
    if (!ID.test(id) || (await readAsk(deps, who.tokenSha256, id)) === null)
      return problem(c, 404, 'NOT_FOUND', 'there is no such ask for you');
    try {
      await deps.submit(id, parsed.value.envelope as Json);
      return c.json({ sent: true });
    } catch (error) {
      if (!isActGuardError(error)) throw error;
      deps.log('warn', 'an answer was refused', { approvalId: id, person: who.session.person, reason: error.message });
      return problem(c, STATUS[error.code as keyof typeof STATUS] ?? 400, error.code, error.message);
    }
  });
}

interface Listed {
  readonly tenant: string;
  readonly title: string;
}

function titled({ content }: ContentDatabase, rows: readonly { readonly a: Listed }[]): Listed[] {
  return rows.map(({ a }) => ({ ...a, title: content.showText('title', a.tenant, a.title) }));
}

/** What came before an ask, with the arguments of each call; `content` is what lies beside its entry. */
type Before = { readonly content: JsonObject | null } & JsonObject;

interface Asked {
  readonly request: string;
  readonly content: JsonObject | null;
  readonly before: readonly Before[];
}

async function readAsk(deps: GatewayDeps, tokenSha256: string, id: string): Promise<Asked | null> {
  const [row] = await deps.db.query<{ a: Asked | null }>('select actguard.page_ask($1, $2) as a', [tokenSha256, id]);
  const asked = row?.a ? parseRequest(row.a.request) : null;
  if (!row?.a || asked?.kind !== 'ok') return row?.a ?? null; // the page says that the request is damaged
  const { content } = deps.db;
  const { tenant } = asked.value;
  return {
    ...row.a,
    content: content.open('ask', tenant, row.a.content),
    before: row.a.before.map(({ content: beside, ...entry }) => ({
      ...entry,
      args: content.open('entry', tenant, beside)?.['args'] ?? null,
    })) as unknown as Asked['before'],
  };
}
