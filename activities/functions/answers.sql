-- Answers to asks, and whether they suffice.

-- What verifying an answer needs: the stored request, the key, the time.
create or replace function actguard.answer_context(p_approval text, p_run text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('nowMs', ms(clock_timestamp()),
    'runTenant', (select tenant from runs where run = p_run),
    'approval', (select jsonb_build_object('tenant', a.tenant, 'run', a.run, 'call', a.call, 'state', a.state,
        'request', convert_from(a.request, 'UTF8'), 'expired', a.expires_at <= clock_timestamp())
      from approvals a where a.approval = p_approval and a.run = p_run),
    'key', (select find_key(a.tenant, p_key) from approvals a where a.approval = p_approval and a.run = p_run))
$$;

-- Whether a gate accepts somebody with these roles ('*' is signed into dev enrolments only).
create or replace function actguard.fits_gate(p_gate jsonb, p_roles text[]) returns boolean
language sql immutable as $$
  select '*' = any (p_roles) or exists (select from jsonb_array_elements_text(p_gate->'roles') r where r = any (p_roles))
$$;

-- Whether a gate accepts this kind of key.
create or replace function actguard.fits_key(p_gate jsonb, p_kind text) returns boolean
language sql immutable as $$ select coalesce(p_gate->>'key', 'any') in ('any', p_kind) $$;

-- Whether every gate has its quorum of different people whose keys and roles count now, and nobody rejected. The
-- caller holds the approval's row; the keys are locked against a revocation that has not committed.
create or replace function actguard.gates_answered(p_approval text) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_gates jsonb; v_tenant text;
begin
  perform 1 from keys k join answers n on n.tenant = k.tenant and n.key_id = k.key_id where n.approval = p_approval
    order by k.tenant, k.key_id for share of k;
  perform 1 from people p join answers n on n.tenant = p.tenant and n.person = p.person where n.approval = p_approval
    order by p.tenant, p.person for share of p;
  select gates, tenant into v_gates, v_tenant from approvals where approval = p_approval;
  if jsonb_array_length(v_gates) = 0 then return false; end if;
  if exists (select from answers where approval = p_approval and decision <> 'approve') then return false; end if;
  return not exists (
    select from jsonb_array_elements(v_gates) g
    where (select count(distinct n.person) from answers n join keys k on k.tenant = n.tenant and k.key_id = n.key_id
           where n.approval = p_approval and not activated_policy(v_tenant, n.person)
             and fits_key(g, k.kind) and fits_gate(g, live_roles(n.tenant, n.person, n.key_id, n.roles)))
      < (g->>'quorum')::int);
end $$;

-- Records a verified answer. The approval's row is locked: the first to commit wins. 'accepted' or 'refused' with
-- 'unknown', 'answered', 'expired', 'role', 'counter' (a copy of the key) or the state that the ask is in.
create or replace function actguard.record_answer(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare
  a approvals; n answers; v_roles text[]; v_kind text; v_complete boolean; v_signed text[] := array(select jsonb_array_elements_text(p->'roles'));
begin
  perform bind_run(p->>'run');
  select * into a from approvals where approval = p->>'approval' and run = p->>'run' for update;
  if not found then return jsonb_build_object('kind', 'refused', 'problem', 'unknown'); end if;
  select * into n from answers where approval = a.approval and person = p->>'person';
  if found then
    if n.delivery = p->>'delivery' then
      return jsonb_build_object('kind', 'accepted', 'decision', n.decision, 'complete', n.completed);
    end if;
    return jsonb_build_object('kind', 'refused', 'problem', 'answered');
  end if;
  if a.state <> 'open' then return jsonb_build_object('kind', 'refused', 'problem', a.state); end if;
  if a.expires_at <= clock_timestamp() then return jsonb_build_object('kind', 'refused', 'problem', 'expired'); end if;
  if p->>'decision' = 'approve' and activated_policy(a.tenant, p->>'person') then
    return jsonb_build_object('kind', 'refused', 'problem', 'activated');
  end if;
  v_roles := live_roles(p->>'keyTenant', p->>'person', p->>'keyId', v_signed);
  select kind into v_kind from keys where tenant = p->>'keyTenant' and key_id = p->>'keyId';
  if not exists (select from jsonb_array_elements(a.gates) g where fits_gate(g, v_roles) and fits_key(g, v_kind)) then
    return jsonb_build_object('kind', 'refused', 'problem', 'role');
  end if;
  if not note_sign_count(p->>'keyTenant', p->>'keyId', (p->>'signCount')::bigint, (p->>'signedAt')::timestamptz, p->>'delivery') then
    return jsonb_build_object('kind', 'refused', 'problem', 'counter');
  end if;
  insert into answers (approval, person, tenant, key_id, decision, roles, envelope, delivery, completed)
  values (a.approval, p->>'person', p->>'keyTenant', p->>'keyId', p->>'decision', v_signed, p->'envelope', p->>'delivery', false);
  v_complete := p->>'decision' = 'reject' or gates_answered(a.approval);
  if v_complete then
    update approvals set state = case p->>'decision' when 'reject' then 'rejected' else 'granted' end, ended_at = clock_timestamp()
      where approval = a.approval;
    update answers set completed = true where approval = a.approval and person = p->>'person';
  end if;
  perform write_entries(p #> '{entries,answered}');
  if v_complete then perform write_entries(p #> '{entries,complete}'); end if;
  return jsonb_build_object('kind', 'accepted', 'decision', p->>'decision', 'complete', v_complete);
end $$;

-- Counts an answer that does not count, and records it as long as it is one of the first p.max of its ask.
create or replace function actguard.record_invalid(p jsonb) returns integer
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_count integer;
begin
  perform bind_run(p->>'run');
  update approvals set invalid_answers = invalid_answers + 1 where approval = p->>'approval' and run = p->>'run'
    returning invalid_answers into v_count;
  if v_count is null then -- no such ask in this run: bounded by the run
    select count(*) + 1 into v_count from entries where run = p->>'run' and kind = p->>'kind';
  end if;
  if v_count <= (p->>'max')::int then perform write_entries(p->'entries'); end if;
  return v_count;
end $$;
