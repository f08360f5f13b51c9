-- What the approval page shows, and to whom: every reading function takes the digest of a session's token, and finds
-- tenant, person and roles itself.

-- The key that a passkey's credential belongs to, with the evidence that makes it count; null: none.
create or replace function actguard.page_passkey(p_credential text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'tenant', k.tenant, 'person', k.person, 'keyId', k.key_id,
    'envelope', k.envelope, 'chain', k.chain, 'revoked', k.revoked_at is not null)
  from keys k where k.credential = p_credential order by k.revoked_at nulls first, k.enrolled_at desc limit 1
$$;

-- Opens a session for a verified sign-in: 'ok', 'used' (the nonce), 'counter' (a copy of the key), 'revoked'.
create or replace function actguard.open_page_session(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant(p->>'tenant');
  delete from page_sessions where expires_at < clock_timestamp() - interval '1 day';
  if exists (select from page_sessions where nonce = p->>'nonce') then return 'used'; end if;
  perform 1 from keys where tenant = p->>'tenant' and key_id = p->>'keyId' and revoked_at is null for share;
  if not found then return 'revoked'; end if;
  if not note_sign_count(p->>'tenant', p->>'keyId', (p->>'signCount')::bigint, (p->>'signedAt')::timestamptz, p->>'nonce') then
    return 'counter';
  end if;
  insert into page_sessions (token_sha256, nonce, tenant, person, key_id, expires_at)
  values (p->>'tokenSha256', p->>'nonce', p->>'tenant', p->>'person', p->>'keyId', clock_timestamp() + ms_interval((p->>'lifeMs')::bigint))
  on conflict do nothing;
  return case when found then 'ok' else 'used' end;
end $$;

-- Who a session is; null: there is none, it has ended, or its key does not count any more.
create or replace function actguard.page_session(p_token text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('tenant', s.tenant, 'person', s.person, 'keyId', s.key_id, 'credential', k.credential, 'dev', k.dev,
    'roles', live_roles(s.tenant, s.person, s.key_id, k.roles), 'expiresAtMs', ms(s.expires_at), 'nowMs', ms(clock_timestamp()))
  from page_sessions s join keys k on k.tenant = s.tenant and k.key_id = s.key_id
  where s.token_sha256 = p_token and s.expires_at > clock_timestamp() and k.revoked_at is null
    and k.valid_from <= clock_timestamp() and (k.valid_until is null or k.valid_until > clock_timestamp())
$$;

create or replace function actguard.end_page_session(p_token text) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  delete from page_sessions where token_sha256 = p_token
$$;

-- Whether somebody with these roles in this tenant may look at an ask: one of its gates is theirs to answer.
create or replace function actguard.may_see(p_tenant text, p_roles text[], p_ask_tenant text, p_gates jsonb) returns boolean
language sql immutable as $$
  select p_tenant in (p_ask_tenant, '*') and exists (select from jsonb_array_elements(p_gates) g where
    '*' = any (p_roles) or exists (select from jsonb_array_elements_text(g->'roles') r where r = any (p_roles)))
$$;

-- Open asks that wait for this session's person, oldest first, at most 100.
create or replace function actguard.page_inbox(p_token text) returns setof jsonb
language plpgsql stable security definer set search_path = actguard, pg_temp as $$
declare s jsonb := page_session(p_token); v_roles text[];
begin
  if s is null then return; end if;
  perform bind_tenant(s->>'tenant');
  v_roles := array(select jsonb_array_elements_text(s->'roles'));
  return query
    select jsonb_build_object('approvalId', a.approval, 'tenant', a.tenant, 'title', a.title, 'openedAtMs', ms(a.opened_at),
      'expiresAtMs', ms(a.expires_at), 'answered', exists (select from answers n where n.approval = a.approval and n.person = s->>'person'),
      'own', r.user_id = s->>'person')
    from approvals a join runs r using (run)
    where a.state = 'open' and a.expires_at > clock_timestamp() and may_see(s->>'tenant', v_roles, a.tenant, a.gates)
    order by a.opened_at limit 100;
end $$;

-- One ask as its approver reads it, with what the run did before and what came of it; null: not theirs to see.
create or replace function actguard.page_ask(p_token text, p_approval text) returns jsonb
language plpgsql stable security definer set search_path = actguard, pg_temp as $$
declare s jsonb := page_session(p_token); a approvals; v_roles text[];
begin
  if s is null then return null; end if;
  perform bind_tenant(s->>'tenant');
  v_roles := array(select jsonb_array_elements_text(s->'roles'));
  select * into a from approvals where approval = p_approval;
  if not found or not may_see(s->>'tenant', v_roles, a.tenant, a.gates) then return null; end if;
  return jsonb_build_object('approvalId', a.approval,
    'state', case when a.state = 'open' and a.expires_at <= clock_timestamp() then 'expired' else a.state end,
    'request', convert_from(a.request, 'UTF8'), 'content', a.content, 'nowMs', ms(clock_timestamp()),
    'answers', (select coalesce(jsonb_agg(jsonb_build_object('person', n.person, 'decision', n.decision, 'atMs', ms(n.answered_at))
      order by n.answered_at), '[]'::jsonb) from answers n where n.approval = a.approval),
    'before', (select coalesce(jsonb_agg(e.j order by e.id), '[]'::jsonb) from (
      select e.id, jsonb_build_object('kind', e.kind, 'call', e.call, 'body', convert_from(e.body, 'UTF8'), 'content', c.content) as j
      from entries e left join entry_contents c on c.entry_id = e.id
      where e.run = a.run and e.inserted_at < a.opened_at and e.kind like 'call.%' and e.kind <> 'call.asked'
      order by e.id desc limit 30) e),
    'effect', (select jsonb_build_object('state', c.state, 'kind', c.result->>'kind')
      from calls c where c.run = a.run and c.call = a.call and c.approval = a.approval));
end $$;

-- Asks that this session's person answered, newest first, at most 100.
create or replace function actguard.page_history(p_token text) returns setof jsonb
language plpgsql stable security definer set search_path = actguard, pg_temp as $$
declare s jsonb := page_session(p_token);
begin
  if s is null then return; end if;
  perform bind_tenant(s->>'tenant');
  return query
    select jsonb_build_object('approvalId', a.approval, 'tenant', a.tenant, 'title', a.title, 'decision', n.decision,
      'answeredAtMs', ms(n.answered_at), 'state', a.state, 'effect', (select c.state from calls c
        where c.run = a.run and c.call = a.call and c.approval = a.approval))
    from answers n join approvals a using (approval)
    where n.person = s->>'person' and s->>'tenant' in (a.tenant, '*')
    order by n.answered_at desc limit 100;
end $$;

-- Grows whenever anything is recorded: pages that are open look again.
create or replace function actguard.page_version() returns bigint
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select coalesce((select id from entries order by id desc limit 1), 0)
$$;

-- What checking an answer before it is sent needs; the same that a worker looks at.
create or replace function actguard.check_context(p_approval text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_approval(p_approval);
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'run', a.run, 'request', convert_from(a.request, 'UTF8'),
    'state', case when a.state = 'open' and a.expires_at <= clock_timestamp() then 'expired' else a.state end,
    'key', find_key(a.tenant, p_key), 'invalidAnswers', a.invalid_answers,
    'answered', exists (select from answers n join keys k on k.tenant = n.tenant and k.person = n.person
      where n.approval = a.approval and k.key_id = p_key))
  from approvals a where a.approval = p_approval
$$;
