/** The approval page: draws the view of its path, keeps it up to date, says what goes wrong. */
import {
  type AskData,
  type HistoryItem,
  type InboxItem,
  type InvitationData,
  type Me,
  Refused,
  get,
  post,
} from './api.ts';
import { announce, el, foreign } from './dom.ts';
import { askView } from './view-ask.ts';
import { invitationView, signInView } from './view-enter.ts';
import { historyView, inboxView } from './view-lists.ts';

const firstShown = new Map<string, string>();
let me: Me | null = null;
let rpId = '';
let live: EventSource | null = null;
/** What the current view was drawn from: unchanged data draws nothing, so that nobody loses their place. */
let drawn = '';
/** What the head says now: drawn again only when that changes, so that nobody who tabs through it loses their place. */
let head = '';
/** Only the latest drawing may change the page. */
let turn = 0;

const main = document.getElementById('main') as HTMLElement;

function show(view: HTMLElement, data: string, moved: boolean): void {
  if (!moved && data === drawn) return;
  const focused = document.activeElement?.id;
  drawn = data;
  main.replaceChildren(view);
  if (moved) (view.querySelector<HTMLElement>('h1') ?? main).focus();
  else if (focused) document.getElementById(focused)?.focus();
}

function failed(error: unknown): void {
  const reason = error instanceof Error ? error.message : 'something went wrong';
  announce(reason);
  main.querySelector('#problem')?.remove();
  main.prepend(el('p', { id: 'problem', role: 'alert', class: 'problem' }, foreign(reason)));
}

async function draw(moved: boolean): Promise<void> {
  const mine = (turn += 1);
  const { pathname } = location;
  try {
    if (pathname === '/invitation') return await drawInvitation();
    me = await get<Me>('/api/me');
    if (rpId === '') ({ rpId } = await get<{ rpId: string }>('/api/sign-in'));
    drawTop();
    listen();
    const ask = /^\/asks\/([^/]+)$/.exec(pathname)?.[1];
    if (ask !== undefined) {
      const data = await get<AskData>(`/api/asks/${ask}`);
      const { nowMs: _now, ...stable } = data;
      if (mine !== turn || me === null) return;
      const view = { me, rpId, firstShown, failed, refresh: () => void draw(false) };
      return show(askView(data, view), JSON.stringify(stable), moved);
    }
    const path = pathname === '/history' ? '/api/history' : '/api/asks';
    const { asks } = await get<{ asks: unknown[] }>(path);
    if (mine !== turn) return;
    const view = pathname === '/history' ? historyView(asks as HistoryItem[]) : inboxView(asks as InboxItem[]);
    show(view, JSON.stringify([pathname, asks]), moved);
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof Refused && error.code === 'UNAUTHENTICATED') return drawSignIn();
    if (error instanceof Refused && error.code === 'NOT_FOUND') return show(nothing(error.message), pathname, moved);
    failed(error);
  }
}

function drawSignIn(): void {
  me = null;
  live?.close();
  live = null;
  drawTop();
  show(
    signInView(() => void draw(true), failed),
    'sign-in',
    drawn !== 'sign-in',
  );
}

async function drawInvitation(): Promise<void> {
  drawTop();
  const token = location.hash.slice(1);
  const invitation = await post<InvitationData>('/api/invitation', { token });
  show(invitationView(token, invitation, failed), 'invitation', true);
}

function nothing(reason: string): HTMLElement {
  return el('div', {}, el('h1', { tabindex: '-1' }, 'Nothing here'), el('p', {}, foreign(reason)));
}

function drawTop(): void {
  const says = JSON.stringify([me?.person, me?.dev, location.pathname]);
  if (says === head) return;
  head = says;
  const top = document.getElementById('top') as HTMLElement;
  const link = (href: string, label: string) =>
    el('a', { href, 'aria-current': location.pathname === href ? 'page' : null }, label);
  if (me === null) return top.replaceChildren(el('strong', {}, 'ActGuard'));
  top.replaceChildren(
    el('strong', {}, 'ActGuard'),
    el('nav', { 'aria-label': 'Approvals' }, link('/', 'Waiting'), link('/history', 'My answers')),
    el('span', { class: 'who' }, `${foreign(me.person)}${me.dev ? ' (dev)' : ''}`),
    el('button', { type: 'button', class: 'quiet', click: () => void leave() }, 'Sign out'),
  );
}

async function leave(): Promise<void> {
  await post('/api/sign-out', {}).catch(() => undefined);
  firstShown.clear();
  drawSignIn();
}

function listen(): void {
  if (live !== null) return;
  live = new EventSource('/api/live');
  // what was recorded before the line was open is looked at once it is
  for (const event of ['open-page', 'changed']) live.addEventListener(event, () => void draw(false));
  live.addEventListener('error', () => {
    if (live?.readyState !== EventSource.CLOSED) return;
    live = null; // signed out or gone: the next drawing finds out
  });
}

document.addEventListener('click', (event) => {
  const link = (event.target as Element | null)?.closest('a');
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
  if (!link || !plain || link.origin !== location.origin || link.hash !== '') return;
  event.preventDefault();
  history.pushState(null, '', link.href);
  announce('');
  void draw(true);
});
addEventListener('popstate', () => void draw(true));
addEventListener('focus', () => void draw(false));
void draw(true);
