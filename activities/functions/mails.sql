-- Mails about asks: what they are made from, and whether they were taken.

-- An ask as a mail needs it, with the addresses of invited people whose key may answer it; `waiting`: of those who have not.
create or replace function actguard.mail_context(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_approval(p_approval);
  select jsonb_build_object('request', convert_from(a.request, 'UTF8'), 'content', a.content, 'state', a.state,
    'mails', coalesce(jsonb_agg(distinct m.mail) filter (where m.mail is not null), '[]'::jsonb),
    'waiting', coalesce(jsonb_agg(distinct m.mail) filter (where m.mail is not null and not m.answered), '[]'::jsonb),
    'answers', (select coalesce(jsonb_agg(jsonb_build_object('person', n.person, 'decision', n.decision) order by n.answered_at), '[]'::jsonb)
      from answers n where n.approval = a.approval),
    'effect', (select c.state from calls c where c.run = a.run and c.call = a.call and c.approval = a.approval))
  from approvals a left join lateral (
    select i.mail, exists (select from answers n where n.approval = a.approval and n.person = k.person) as answered
    from invitations i join keys k on k.tenant = i.tenant and k.key_id = i.key_id
    where i.tenant = a.tenant and i.state = 'confirmed' and k.revoked_at is null
      and may_see(i.tenant, live_roles(k.tenant, k.person, k.key_id, k.roles), a.tenant, a.gates)) m on true
  where a.approval = p_approval group by a.approval
$$;

-- Mails that the janitor sends, p_limit at once: a reminder when a quarter of an ask's time is left (of 20 minutes or more), and
-- what came of an ask once that is known. Whoever gets one here sends it; one that was not sent is due again, for a day.
create or replace function actguard.due_mails(p_limit int) returns setof jsonb
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  with due as (
    select a.approval, a.run, 'reminder' as what from approvals a
    where a.state = 'open' and a.expires_at > statement_timestamp() and a.expires_at - a.opened_at >= interval '20 minutes'
      and a.expires_at - (a.expires_at - a.opened_at) / 4 <= statement_timestamp()
    union all
    select a.approval, a.run, 'outcome' from approvals a join runs r on r.run = a.run
      left join calls c on c.run = a.run and c.call = a.call and c.approval = a.approval
    where a.state <> 'open' and a.ended_at > statement_timestamp() - interval '2 days'
      and case a.state when 'consumed' then c.state in ('succeeded', 'failed', 'unknown')
        when 'granted' then r.status <> 'open' or a.expires_at <= statement_timestamp() else true end),
  claimed as (
    insert into mails (message_id, run, what, attempts, error)
    select '<' || d.approval || '.' || d.what || '@actguard.invalid>', d.run, d.what, 0, 'not sent yet' from due d
    where not exists (select from mails m where m.message_id = '<' || d.approval || '.' || d.what || '@actguard.invalid>'
      and (m.error is null or m.first_at < statement_timestamp() - interval '1 day'
        or m.last_at > statement_timestamp() - least(m.attempts + 1, 15) * interval '1 minute'))
    order by d.approval limit p_limit
    on conflict (message_id) do update set last_at = clock_timestamp() where mails.error is not null
    returning message_id)
  select jsonb_build_object('run', d.run, 'what', d.what, 'approvalId', d.approval)
  from claimed join due d on message_id = '<' || d.approval || '.' || d.what || '@actguard.invalid>'
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
    'error', (select error from mails where error is not null and attempts > 0 order by last_at desc limit 1))
  from mails where error is not null and attempts > 0
$$;
