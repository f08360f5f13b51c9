-- Asks: opened, listed, ended.

-- What opening an ask needs to know first: the time, and the gates that earlier asks of this call were granted.
create or replace function actguard.ask_context(p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'granted', coalesce((
    select jsonb_agg(distinct g->>'id') from approvals a, jsonb_array_elements(a.gates) g
    where a.run = p_run and a.call = p_call and a.state = 'granted'), '[]'::jsonb))
$$;

-- How long until everybody whom an ask reaches may be asked again, in milliseconds; null: now. Nobody is asked more than
-- p_max times within an hour; a role that nobody holds yet counts like somebody, for mails go out all the same.
create or replace function actguard.asks_wait_ms(p_tenant text, p_gates jsonb, p_max int) returns bigint
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  with reached (roles) as (
    select array[r] from jsonb_array_elements(p_gates) g, jsonb_array_elements_text(g->'roles') r
    union
    select p.roles from people p where p.tenant in (p_tenant, '*') and may_see(p.tenant, p.roles, p_tenant, p_gates)
      and exists (select from keys k where k.tenant = p.tenant and k.person = p.person and k.revoked_at is null))
  select ceil(extract(epoch from max(oldest.opened_at) + interval '1 hour' - statement_timestamp()) * 1000)::bigint
  from reached, lateral (
    select a.opened_at from approvals a
    where a.tenant = p_tenant and a.opened_at > statement_timestamp() - interval '1 hour'
      and may_see(p_tenant, reached.roles, a.tenant, a.gates)
    order by a.opened_at desc offset p_max - 1 limit 1) oldest
$$;

-- Opens an ask, or gives the one that is open for this call (a retry), or for an equal call of the run with the same gates
-- (p.equal): nobody is asked twice at the same time. Refuses: 'unknown_run', 'closed_run',
-- 'too_many' (open asks of the run), 'again_and_again' (asks of this call), 'tired' (its approvers), 'clock'.
create or replace function actguard.open_approval(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs; a approvals; v_ask integer; v_again boolean := true; v_wait bigint; v_expires timestamptz := to_timestamp((p->>'expiresAtMs')::bigint / 1000.0);
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:asks:' || (p->>'tenant'), 0));
  select * into r from runs where run = p->>'run';
  if not found or r.tenant <> p->>'tenant' then return jsonb_build_object('kind', 'refused', 'problem', 'unknown_run'); end if;
  if r.status <> 'open' then return jsonb_build_object('kind', 'refused', 'problem', 'closed_run'); end if;
  select * into a from approvals where run = p->>'run' and call = p->>'call' and state = 'open';
  if not found then
    select * into a from approvals where approval = p->>'equal' and run = p->>'run' and state = 'open' and expires_at > clock_timestamp()
      and gates = p->'gates';
    if found then perform write_entries(p->'joined'); end if;
  end if;
  if a.approval is null then
    v_again := false;
    select count(*) + 1 into v_ask from approvals where run = p->>'run' and call = p->>'call';
    if v_ask > (p->>'maxPerCall')::int then return jsonb_build_object('kind', 'refused', 'problem', 'again_and_again'); end if;
    if (select count(*) from approvals where run = p->>'run' and state = 'open' and expires_at > clock_timestamp())
      >= (p->>'maxOpen')::int then
      return jsonb_build_object('kind', 'refused', 'problem', 'too_many');
    end if;
    v_wait := asks_wait_ms(r.tenant, p->'gates', (p->>'maxPerHour')::int);
    if v_wait is not null then return jsonb_build_object('kind', 'refused', 'problem', 'tired', 'retryAfterMs', v_wait); end if;
    if v_expires <= clock_timestamp() or v_expires > clock_timestamp() + ms_interval((p->>'ttlMs')::bigint + (p->>'skewMs')::bigint) then
      return jsonb_build_object('kind', 'refused', 'problem', 'clock');
    end if;
    insert into approvals (approval, tenant, run, call, ask, nonce, request, content, gates, title, expires_at)
    values (p->>'approval', r.tenant, r.run, p->>'call', v_ask, p->>'nonce', convert_to(p->>'request', 'UTF8'), p->'content',
      p->'gates', p->>'title', v_expires)
    returning * into a;
    perform write_entries(p->'entries');
  end if;
  return jsonb_build_object('kind', 'opened', 'again', v_again, 'joined', a.call <> p->>'call', 'approvalId', a.approval, 'nonce', a.nonce,
    'expiresAtMs', ms(a.expires_at), 'title', a.title,
    'gates', (select jsonb_agg(g->>'id') from jsonb_array_elements(a.gates) g));
end $$;

-- Ends an ask that nobody answered in time ('expired') or that is not wanted any more ('withdrawn', also after a
-- yes that was not used). Answers with the state that the ask is in now; null: there is no such ask.
create or replace function actguard.end_approval(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare a approvals;
begin
  perform bind_run(p->>'run');
  select * into a from approvals where approval = p->>'approval' and run = p->>'run' for update;
  if not found then return null; end if;
  if a.state = 'open' or (a.state = 'granted' and p->>'outcome' = 'withdrawn') then
    update approvals set state = p->>'outcome', ended_at = clock_timestamp() where approval = a.approval;
    perform write_entries(p->'entries');
    return p->>'outcome';
  end if;
  return a.state;
end $$;

-- Asks for people: p = { tenant?, state? }, at most 200, newest first.
create or replace function actguard.list_approvals(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p->>'tenant', '*'));
  select jsonb_build_object('approvalId', a.approval, 'tenant', a.tenant, 'run', a.run, 'call', a.call, 'title', a.title,
    'state', case when a.state = 'open' and a.expires_at <= clock_timestamp() then 'expired' else a.state end,
    'openedAtMs', ms(a.opened_at), 'expiresAtMs', ms(a.expires_at), 'invalidAnswers', a.invalid_answers,
    'gates', (select jsonb_agg(g->>'id') from jsonb_array_elements(a.gates) g),
    'answers', (select count(*) from answers n where n.approval = a.approval))
  from approvals a
  where (p->>'tenant' is null or a.tenant = p->>'tenant')
    and (p->>'state' is null or (a.state = p->>'state' and (a.state <> 'open' or a.expires_at > clock_timestamp())))
  order by a.opened_at desc limit 200
$$;

-- One ask as an approver reads it; null: there is none.
create or replace function actguard.read_approval(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_approval(p_approval);
  select jsonb_build_object('approvalId', a.approval, 'nonce', a.nonce, 'run', a.run, 'workflowId', r.workflow_id, 'title', a.title,
    'state', case when a.state = 'open' and a.expires_at <= clock_timestamp() then 'expired' else a.state end,
    'request', convert_from(a.request, 'UTF8'), 'content', a.content,
    'answers', (select coalesce(jsonb_agg(jsonb_build_object('person', n.person, 'decision', n.decision,
      'atMs', ms(n.answered_at))), '[]'::jsonb) from answers n where n.approval = a.approval))
  from approvals a join runs r using (run) where a.approval = p_approval
$$;
