-- Mails about asks: what they are made from, and whether they were taken.

-- An ask as a mail needs it, with the addresses of invited people whose key may answer it.
create or replace function actguard.mail_context(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('request', convert_from(a.request, 'UTF8'), 'content', a.content, 'mails', (
    select coalesce(jsonb_agg(distinct i.mail), '[]'::jsonb)
    from invitations i join keys k on k.tenant = i.tenant and k.key_id = i.key_id
    where i.tenant = a.tenant and i.state = 'confirmed' and i.mail is not null and k.revoked_at is null
      and may_see(i.tenant, live_roles(k.tenant, k.person, k.key_id, k.roles), a.tenant, a.gates)))
  from approvals a where a.approval = p_approval
$$;

-- Notes an attempt: `error` null when the mail was taken.
create or replace function actguard.note_mail(p jsonb) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  insert into mails (message_id, run, what, error) values (p->>'messageId', p->>'run', p->>'what', p->>'error')
  on conflict (message_id) do update set attempts = mails.attempts + 1, error = excluded.error, last_at = clock_timestamp()
$$;

-- What was not taken: how many, since when, and why the last one was not.
create or replace function actguard.undelivered_mails() returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('count', count(*), 'sinceMs', ms(min(first_at)),
    'error', (select error from mails where error is not null order by last_at desc limit 1))
  from mails where error is not null
$$;
