/** Every SQL function says whose rows it works on, before anything else: another tenant's are not there for it then. */
import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { INNER_FUNCTIONS as INNER } from '../activities/functions.ts';

/** Touch nothing that belongs to a tenant, with the reason. */
const OF_NOBODY: { readonly [name: string]: string } = {
  take_slot: 'a rate bucket, by its digest; one of scope `tool` is every tenant’s',
  settle_breaker: 'a breaker, by its key',
  note_mail: 'whether a mail was taken, by its id',
  undelivered_mails: 'how many were not taken',
  read_policies: 'the text of a set, by its digest; sets belong to the deployment',
  ledger_node_hashes: 'hashes of the tree',
  ledger_checkpoint: 'hashes of the tree',
  ledger_checkpoints_page: 'hashes of the tree',
};
/** Find out whose rows they are about, and bind that. */
const BINDERS = ['bind_tenant', 'bind_run', 'bind_approval', 'bind_unbound', 'kept_to'];

const folder = new URL('../activities/functions/', import.meta.url);
const functions = readdirSync(folder)
  .flatMap((file) => [
    ...readFileSync(new URL(file, folder), 'utf8').matchAll(
      /create or replace function actguard\.(\w+)\(([\s\S]*?)\$\$([\s\S]*?)\$\$;/g,
    ),
  ])
  .map(([, name = '', head = '', body = '']) => ({ name, head, body }))
  .filter(({ name, head }) => /security definer/.test(head) && !name.startsWith('seal_') && !BINDERS.includes(name));

test('P7 a function binds its tenant first, is called by one that has, or is listed with the reason why it needs none', () => {
  expect(functions.length).toBeGreaterThan(110);
  const binds = (body: string): boolean =>
    /^\s*(?:declare[\s\S]*?\bbegin\b|begin\b)?\s*(?:--[^\n]*\n\s*)*(?:perform|select)\s+(?:case when p_run is null then )?(?:bind_\w+|page_session)\(/.test(body) || // prettier-ignore
    /^declare s jsonb := page_session\(p_token\);/.test(body.trim());
  const names = functions.map(({ name }) => name);
  expect([...INNER, ...Object.keys(OF_NOBODY)].filter((name) => !names.includes(name))).toEqual([]);
  const loose = functions.filter(({ name, body }) => !binds(body) && !INNER.includes(name) && !(name in OF_NOBODY));
  expect(
    loose.map(({ name }) => name),
    'start it with `perform bind_tenant(…)` or `perform bind_run(…)` (`select …` in an SQL function): functions/tenants.sql',
  ).toEqual([]);
});
