/** Puts credentials into the requests that they are bound to: host, method and path, all of it. */
import type { SecretBinding } from '../define/secret-types.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Credential } from './credentials.ts';
import { hostOf } from './network.ts';

/** A use of a secret, as the outcome's entry lists it. */
export interface SecretUse {
  readonly name: string;
  readonly host: string;
  readonly method: string;
}

type Body = NonNullable<RequestInit['body']> | null;

/** A request while it is made ready; `url`, `headers` and `body` are changed in place. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  body: Body;
}

/**
 * Adds every credential that is bound to this request; answers what was used.
 * @throws CONFIG_INVALID for a body that a field cannot be put into: nothing is sent then
 */
export function inject(request: Outgoing, credentials: readonly Credential[]): SecretUse[] {
  const uses: SecretUse[] = [];
  const host = hostOf(request.url);
  const asked = new URL(request.url); // judged as the tool asked for it, not with another secret in it
  for (const { ref, value } of credentials) {
    if (ref.sent === null || ref.sent.host !== host || !isBound(ref.sent, asked, request.method)) continue;
    put(request, ref.sent, ref.name, value);
    uses.push({ name: ref.name, host, method: request.method });
  }
  return uses;
}

/** What a secret becomes on the wire, besides itself: basic authentication sends it encoded with its user. */
export function derivedForms({ ref, value }: Credential): string[] {
  return ref.sent?.into.kind === 'basic' ? [basic(ref.sent.into.user, value)] : [];
}

function isBound({ methods, path }: SecretBinding, url: URL, method: string): boolean {
  if (methods !== null && !methods.includes(method)) return false;
  if (path === null) return true;
  // encoded slashes, dots and percents are read in more than one way: what is read elsewhere may lie outside the path
  if (/%(2f|5c|2e|25|00)|;/i.test(url.pathname) || url.pathname.includes('//')) return false;
  return url.pathname === path || url.pathname.startsWith(`${path}/`);
}

function put(request: Outgoing, { into }: SecretBinding, name: string, value: string): void {
  switch (into.kind) {
    case 'header':
      return setHeader(
        request,
        name,
        into.header,
        into.format.replace('{}', () => value),
      );
    case 'basic':
      return setHeader(request, name, 'authorization', `Basic ${basic(into.user, value)}`);
    case 'query':
      return request.url.searchParams.set(into.parameter, value);
    case 'body':
      request.body = withField(request, name, into.field, value);
      return;
    default:
      return into satisfies never;
  }
}

/** A value with a line end or a sign beyond Latin-1 is refused by name: the runtime's own error would repeat it. */
function setHeader({ headers }: Outgoing, name: string, header: string, value: string): void {
  if (/[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]/.test(value)) {
    throw new ActGuardError('CONFIG_INVALID', `the value of secret \`${name}\` cannot stand in a header`, {
      hint: 'it has a line end or a sign that headers do not carry; was it stored with one?',
      details: { name },
    });
  }
  headers.set(header, value);
}

function withField({ body, headers }: Outgoing, name: string, field: string, value: string): NonNullable<Body> {
  if (body instanceof URLSearchParams) {
    const form = new URLSearchParams(body);
    form.set(field, value);
    return form;
  }
  const type = headers.get('content-type') ?? '';
  if (typeof body === 'string' && type.startsWith('application/x-www-form-urlencoded')) {
    const form = new URLSearchParams(body);
    form.set(field, value);
    return form.toString();
  }
  const json = typeof body === 'string' ? parseObject(body) : null;
  if (json) return JSON.stringify({ ...json, [field]: value });
  throw new ActGuardError('CONFIG_INVALID', `secret \`${name}\` is a field of the body, but the body has no fields`, {
    hint: 'send a JSON object or a form',
    details: { name },
  });
}

function parseObject(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** RFC 7617, in UTF-8. */
function basic(user: string, password: string): string {
  return Buffer.from(`${user}:${password}`, 'utf8').toString('base64');
}
