/** The approval page's server: a client with a door for browsers. Nothing in it decides (design.md, Rooms). */
import { Hono } from 'hono';
import { ActGuardError, isActGuardError } from '../governance/errors.ts';
import { askRoutes } from './asks.ts';
import type { GatewayDeps } from './deps.ts';
import { enrolRoutes } from './enrol.ts';
import { headers, problem, rates, sameOrigin } from './guard.ts';
import { liveRoute } from './live.ts';
import { MAIN_MODULE } from './modules.ts';
import { signInRoutes } from './sign-in.ts';

/** Paths of views: all of them are the same shell, the page's own script draws the rest. */
const VIEWS = ['/', '/history', '/invitation', '/asks/:id'];

const SHELL = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>ActGuard approvals</title>
<link rel="stylesheet" href="/style.css">
<script type="module" src="${MAIN_MODULE}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header id="top"></header>
<main id="main" tabindex="-1"><noscript>This page computes in your browser what you sign: it needs JavaScript. Or use <code>actguard approve ID</code>.</noscript></main>
<p id="status" role="status" aria-live="polite"></p>
</body>
</html>
`;

/** Makes the server's routes. */
export function makeApp(deps: GatewayDeps): Hono {
  const app = new Hono();
  app.use('*', headers(deps), sameOrigin(deps));
  app.use('/api/*', rates(deps));
  for (const view of VIEWS) app.get(view, (c) => c.html(SHELL));
  app.get('/style.css', serve);
  app.get('/m/*', serve);
  signInRoutes(app, deps);
  askRoutes(app, deps);
  enrolRoutes(app, deps);
  liveRoute(app, deps);
  app.notFound((c) => problem(c, 404, 'NOT_FOUND', 'there is nothing here'));
  app.onError((error, c) => {
    const away = isActGuardError(error) && error.code === 'BACKEND_UNAVAILABLE';
    deps.log(away ? 'warn' : 'error', 'a request failed', { path: c.req.path, reason: error.message.slice(0, 300) });
    return problem(c, 503, 'BACKEND_UNAVAILABLE', 'this cannot be read right now; nothing was sent. Try again');
  });
  return app;

  function serve(c: Parameters<typeof problem>[0]) {
    const file = deps.files.get(c.req.path);
    if (!file) return problem(c, 404, 'NOT_FOUND', 'there is nothing here');
    c.header('etag', file.etag);
    c.header('cache-control', 'no-cache');
    if (c.req.header('if-none-match') === file.etag) return c.body(null, 304);
    return c.body(file.body, 200, { 'content-type': file.type });
  }
}

/** The relying party that a page needs. @throws ActGuardError CONFIG_INVALID where none is configured */
export function requirePasskeys(passkeys: GatewayDeps['passkeys'] | null): GatewayDeps['passkeys'] {
  if (passkeys !== null) return passkeys;
  throw new ActGuardError('CONFIG_INVALID', 'the configuration names no approval page', {
    hint: "add `approvals: { page: 'https://approve.example' }`: passkeys are bound to it",
  });
}
