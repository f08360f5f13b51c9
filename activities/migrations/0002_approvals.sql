-- People and their keys, asks and their answers, used commands. Rows here approve nothing by themselves: a worker
-- follows every key to a root and verifies every signature again when an approval is used. What SQL checks can only
-- take away: revoked keys, lost roles, expiry, single use.
create table actguard.people (
  tenant text not null,                  -- '*': every tenant, dev keys only
  person text not null,
  roles text[] not null,                 -- held now; a role taken out here counts no more, one put in counts for nothing
  dev boolean not null,
  enrolled_at timestamptz not null default clock_timestamp(),
  primary key (tenant, person)
);

create table actguard.keys (
  key_id text not null,                  -- SHA-256 of the raw public key, hex
  tenant text not null,
  person text not null,
  roles text[] not null,                 -- copied from the enrolment
  envelope jsonb not null,               -- the enrolment (DSSE)
  chain jsonb not null,                  -- the signers' enrolments, nearest first
  valid_from timestamptz not null,
  valid_until timestamptz,
  dev boolean not null,
  enrolled_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz,
  primary key (tenant, key_id),
  foreign key (tenant, person) references actguard.people (tenant, person)
);
create index keys_person on actguard.keys (tenant, person);

create table actguard.approvals (
  approval text primary key,
  tenant text not null,
  run text not null references actguard.runs (run),
  call text not null,
  ask integer not null,                  -- 1, 2 … of its call
  nonce text not null unique,
  state text not null default 'open' check (state in ('open', 'granted', 'rejected', 'expired', 'withdrawn', 'consumed')),
  request bytea not null,                -- canonical JSON (RFC 8785), the bytes that are signed for
  content jsonb,                         -- erasable: arguments, shown text, facts, their salt
  gates jsonb not null,                  -- [{ id, sha256, roles, quorum }], copied from the request
  title text not null,
  opened_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  invalid_answers integer not null default 0,
  consumed_by_effect text,
  consumed_at timestamptz,
  unique (run, call, ask)
);
create unique index approvals_one_open on actguard.approvals (run, call) where state = 'open';
create index approvals_open on actguard.approvals (opened_at) where state = 'open';

create table actguard.answers (
  approval text not null references actguard.approvals (approval),
  person text not null,
  tenant text not null,                  -- of the key's row
  key_id text not null,
  decision text not null check (decision in ('approve', 'reject')),
  roles text[] not null,                 -- as signed in the enrolment, at the answer
  envelope jsonb not null,
  delivery text not null,                -- the activity that brought it: its retries are the same answer
  completed boolean not null,            -- whether this answer ended the ask
  answered_at timestamptz not null default clock_timestamp(),
  primary key (approval, person),
  foreign key (tenant, key_id) references actguard.keys (tenant, key_id)
);

create table actguard.command_nonces (
  tenant text not null,
  nonce text not null,
  target text not null,
  person text not null,
  key_id text not null,
  envelope jsonb not null,
  delivery text not null,
  used_at timestamptz not null default clock_timestamp(),
  primary key (tenant, nonce)
);

-- ---------------------------------------------------------------- the directory
-- 'enrolled', 'again' (the same key and person) or 'taken' (another person's key, or a revoked one).
create function actguard.enrol_key(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare k keys; v_roles text[] := array(select jsonb_array_elements_text(p->'roles'));
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:key:' || (p->>'tenant') || ':' || (p->>'keyId'), 0));
  select * into k from keys where tenant = p->>'tenant' and key_id = p->>'keyId';
  if found then
    return case when k.person = p->>'person' and k.revoked_at is null then 'again' else 'taken' end;
  end if;
  insert into people (tenant, person, roles, dev) values (p->>'tenant', p->>'person', v_roles, (p->>'dev')::boolean)
  on conflict (tenant, person) do update
    set roles = array(select distinct r from unnest(people.roles || excluded.roles) r order by r);
  insert into keys (key_id, tenant, person, roles, envelope, chain, valid_from, valid_until, dev)
  values (p->>'keyId', p->>'tenant', p->>'person', v_roles, p->'envelope', p->'chain', (p->>'validFrom')::timestamptz,
    (p->>'validUntil')::timestamptz, (p->>'dev')::boolean);
  perform append_entries(coalesce(p->'entries', '[]'::jsonb));
  return 'enrolled';
end $$;

-- A key as it counts in a tenant, as JSON; null where there is none.
create function actguard.find_key(p_tenant text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('tenant', k.tenant, 'person', k.person, 'roles', k.roles, 'envelope', k.envelope,
    'chain', k.chain, 'revoked', k.revoked_at is not null, 'dev', k.dev)
  from keys k where k.key_id = p_key and k.tenant in (p_tenant, '*') order by k.tenant = p_tenant desc limit 1
$$;

-- Everybody's keys, newest first; p_tenant null: of every tenant.
create function actguard.list_keys(p_tenant text default null) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('tenant', k.tenant, 'person', k.person, 'roles', k.roles, 'keyId', k.key_id, 'dev', k.dev,
    'enrolledAtMs', ms(k.enrolled_at), 'revoked', k.revoked_at is not null)
  from keys k where p_tenant is null or k.tenant in (p_tenant, '*') order by k.enrolled_at desc
$$;

-- ---------------------------------------------------------------- asks
-- What opening an ask needs to know first: the time, and the gates that earlier asks of this call were granted.
create function actguard.ask_context(p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'granted', coalesce((
    select jsonb_agg(distinct g->>'id') from approvals a, jsonb_array_elements(a.gates) g
    where a.run = p_run and a.call = p_call and a.state = 'granted'), '[]'::jsonb))
$$;

-- Opens an ask, or gives the one that is open for this call (a retry). Refuses: 'unknown_run', 'closed_run',
-- 'too_many' (open asks of the run), 'again_and_again' (asks of this call), 'clock'.
create function actguard.open_approval(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs; a approvals; v_ask integer; v_again boolean := true; v_expires timestamptz := to_timestamp((p->>'expiresAtMs')::bigint / 1000.0);
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:asks:' || (p->>'run'), 0));
  select * into r from runs where run = p->>'run';
  if not found or r.tenant <> p->>'tenant' then return jsonb_build_object('kind', 'refused', 'problem', 'unknown_run'); end if;
  if r.status <> 'open' then return jsonb_build_object('kind', 'refused', 'problem', 'closed_run'); end if;
  select * into a from approvals where run = p->>'run' and call = p->>'call' and state = 'open';
  if not found then
    v_again := false;
    select count(*) + 1 into v_ask from approvals where run = p->>'run' and call = p->>'call';
    if v_ask > (p->>'maxPerCall')::int then return jsonb_build_object('kind', 'refused', 'problem', 'again_and_again'); end if;
    if (select count(*) from approvals where run = p->>'run' and state = 'open' and expires_at > clock_timestamp())
      >= (p->>'maxOpen')::int then
      return jsonb_build_object('kind', 'refused', 'problem', 'too_many');
    end if;
    if v_expires <= clock_timestamp() or v_expires > clock_timestamp() + ms_interval((p->>'ttlMs')::bigint + (p->>'skewMs')::bigint) then
      return jsonb_build_object('kind', 'refused', 'problem', 'clock');
    end if;
    insert into approvals (approval, tenant, run, call, ask, nonce, request, content, gates, title, expires_at)
    values (p->>'approval', r.tenant, r.run, p->>'call', v_ask, p->>'nonce', convert_to(p->>'request', 'UTF8'), p->'content',
      p->'gates', p->>'title', v_expires)
    returning * into a;
    perform append_entries(p->'entries');
  end if;
  return jsonb_build_object('kind', 'opened', 'again', v_again, 'approvalId', a.approval, 'nonce', a.nonce,
    'expiresAtMs', ms(a.expires_at), 'title', a.title,
    'gates', (select jsonb_agg(g->>'id') from jsonb_array_elements(a.gates) g));
end $$;

-- What verifying an answer needs: the stored request, the key, the time.
create function actguard.answer_context(p_approval text, p_run text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('nowMs', ms(clock_timestamp()),
    'runTenant', (select tenant from runs where run = p_run),
    'approval', (select jsonb_build_object('tenant', a.tenant, 'run', a.run, 'call', a.call, 'state', a.state,
        'request', convert_from(a.request, 'UTF8'), 'expired', a.expires_at <= clock_timestamp())
      from approvals a where a.approval = p_approval and a.run = p_run),
    'key', (select find_key(a.tenant, p_key) from approvals a where a.approval = p_approval and a.run = p_run))
$$;

-- The roles of an answer that still count: signed at the answer, held by the key's row, held by the person, now.
create function actguard.live_roles(p_tenant text, p_person text, p_key text, p_signed text[]) returns text[]
language sql stable security definer set search_path = actguard, pg_temp as $$
  select coalesce((
    select array(select unnest(p_signed) intersect select unnest(k.roles) intersect select unnest(p.roles))
    from keys k join people p on p.tenant = k.tenant and p.person = k.person
    where k.tenant = p_tenant and k.key_id = p_key and k.person = p_person and k.revoked_at is null
      and k.valid_from <= clock_timestamp() and (k.valid_until is null or k.valid_until > clock_timestamp())), '{}')
$$;

-- Whether a gate accepts somebody with these roles ('*' is signed into dev enrolments only).
create function actguard.fits_gate(p_gate jsonb, p_roles text[]) returns boolean
language sql immutable as $$
  select '*' = any (p_roles) or exists (select from jsonb_array_elements_text(p_gate->'roles') r where r = any (p_roles))
$$;

-- Whether every gate has its quorum of different people whose keys and roles count now, and nobody rejected. The
-- caller holds the approval's row; the keys are locked against a revocation that has not committed.
create function actguard.gates_answered(p_approval text) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_gates jsonb;
begin
  perform 1 from keys k join answers n on n.tenant = k.tenant and n.key_id = k.key_id where n.approval = p_approval
    order by k.tenant, k.key_id for share of k;
  perform 1 from people p join answers n on n.tenant = p.tenant and n.person = p.person where n.approval = p_approval
    order by p.tenant, p.person for share of p;
  select gates into v_gates from approvals where approval = p_approval;
  if jsonb_array_length(v_gates) = 0 then return false; end if;
  if exists (select from answers where approval = p_approval and decision <> 'approve') then return false; end if;
  return not exists (
    select from jsonb_array_elements(v_gates) g
    where (select count(distinct n.person) from answers n
           where n.approval = p_approval and fits_gate(g, live_roles(n.tenant, n.person, n.key_id, n.roles)))
      < (g->>'quorum')::int);
end $$;

-- Records a verified answer. The approval's row is locked: the first to commit wins. 'accepted' or 'refused' with
-- 'unknown', 'answered', 'expired', 'role' or the state that the ask is in.
create function actguard.record_answer(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare
  a approvals; n answers; v_roles text[]; v_complete boolean; v_signed text[] := array(select jsonb_array_elements_text(p->'roles'));
begin
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
  v_roles := live_roles(p->>'keyTenant', p->>'person', p->>'keyId', v_signed);
  if not exists (select from jsonb_array_elements(a.gates) g where fits_gate(g, v_roles)) then
    return jsonb_build_object('kind', 'refused', 'problem', 'role');
  end if;
  insert into answers (approval, person, tenant, key_id, decision, roles, envelope, delivery, completed)
  values (a.approval, p->>'person', p->>'keyTenant', p->>'keyId', p->>'decision', v_signed, p->'envelope', p->>'delivery', false);
  v_complete := p->>'decision' = 'reject' or gates_answered(a.approval);
  if v_complete then
    update approvals set state = case p->>'decision' when 'reject' then 'rejected' else 'granted' end, ended_at = clock_timestamp()
      where approval = a.approval;
    update answers set completed = true where approval = a.approval and person = p->>'person';
  end if;
  perform append_entries(p #> '{entries,answered}');
  if v_complete then perform append_entries(p #> '{entries,complete}'); end if;
  return jsonb_build_object('kind', 'accepted', 'decision', p->>'decision', 'complete', v_complete);
end $$;

-- Counts an answer that does not count, and records it as long as it is one of the first p.max of its ask.
create function actguard.record_invalid(p jsonb) returns integer
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_count integer;
begin
  update approvals set invalid_answers = invalid_answers + 1 where approval = p->>'approval' and run = p->>'run'
    returning invalid_answers into v_count;
  if v_count is null then -- no such ask in this run: bounded by the run
    select count(*) + 1 into v_count from entries where run = p->>'run' and kind = p->>'kind';
  end if;
  if v_count <= (p->>'max')::int then perform append_entries(p->'entries'); end if;
  return v_count;
end $$;

-- Ends an ask that nobody answered in time ('expired') or that is not wanted any more ('withdrawn', also after a
-- yes that was not used). Answers with the state that the ask is in now; null: there is no such ask.
create function actguard.end_approval(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare a approvals;
begin
  select * into a from approvals where approval = p->>'approval' and run = p->>'run' for update;
  if not found then return null; end if;
  if a.state = 'open' or (a.state = 'granted' and p->>'outcome' = 'withdrawn') then
    update approvals set state = p->>'outcome', ended_at = clock_timestamp() where approval = a.approval;
    perform append_entries(p->'entries');
    return p->>'outcome';
  end if;
  return a.state;
end $$;

-- Takes a yes for one effect; called inside the claim's transaction. 'ok', or why not: 'unknown' (not this call's),
-- 'open', 'rejected', 'expired', 'withdrawn', 'consumed' (for another effect), 'lapsed' (a key or a role is gone).
create function actguard.consume_approval(p_approval text, p_run text, p_call text, p_effect text) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare a approvals;
begin
  select * into a from approvals where approval = p_approval for update;
  if not found or a.run <> p_run or a.call <> p_call then return 'unknown'; end if;
  if a.state = 'consumed' then return case when a.consumed_by_effect = p_effect then 'ok' else 'consumed' end; end if;
  if a.state <> 'granted' then return a.state; end if;
  if a.expires_at <= clock_timestamp() then return 'expired'; end if;
  if not gates_answered(a.approval) then return 'lapsed'; end if;
  update approvals set state = 'consumed', consumed_by_effect = p_effect, consumed_at = clock_timestamp() where approval = p_approval;
  return 'ok';
end $$;

-- The gates that a yes answers: [{ id, sha256, … }], empty as long as there is no yes.
create function actguard.granted_gates(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select coalesce((select gates from approvals where approval = p_approval and state in ('granted', 'consumed')), '[]'::jsonb)
$$;

-- Everything that proves a yes, for the worker to verify again before the claim; null: not this call's, or no yes.
create function actguard.granted_context(p_approval text, p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'state', a.state, 'request', convert_from(a.request, 'UTF8'),
    'content', a.content, 'answers', (
      select jsonb_agg(jsonb_build_object('keyId', n.key_id, 'envelope', n.envelope, 'key',
        (select jsonb_build_object('envelope', k.envelope, 'chain', k.chain, 'revoked', k.revoked_at is not null)
         from keys k where k.tenant = n.tenant and k.key_id = n.key_id)) order by n.person)
      from answers n where n.approval = a.approval))
  from approvals a
  where a.approval = p_approval and a.run = p_run and a.call = p_call and a.state in ('granted', 'consumed')
$$;

-- Asks for people: p = { tenant?, state? }, at most 200, newest first.
create function actguard.list_approvals(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
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
create function actguard.read_approval(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('approvalId', a.approval, 'nonce', a.nonce, 'run', a.run, 'workflowId', r.workflow_id, 'title', a.title,
    'state', case when a.state = 'open' and a.expires_at <= clock_timestamp() then 'expired' else a.state end,
    'request', convert_from(a.request, 'UTF8'), 'content', a.content,
    'answers', (select coalesce(jsonb_agg(jsonb_build_object('person', n.person, 'decision', n.decision,
      'atMs', ms(n.answered_at))), '[]'::jsonb) from answers n where n.approval = a.approval))
  from approvals a join runs r using (run) where a.approval = p_approval
$$;

-- ---------------------------------------------------------------- commands
create function actguard.command_context(p_run text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'tenant', r.tenant, 'key', find_key(r.tenant, p_key))
  from (select 1) one left join runs r on r.run = p_run
$$;

-- Uses a verified command's nonce: 'ok', 'used', 'expired', 'role'.
create function actguard.use_command(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces;
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:nonce:' || (p->>'tenant') || ':' || (p->>'nonce'), 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then return case when c.delivery = p->>'delivery' then 'ok' else 'used' end; end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return 'expired'; end if;
  perform 1 from keys where tenant = p->>'keyTenant' and key_id = p->>'keyId' for share;
  if not live_roles(p->>'keyTenant', p->>'person', p->>'keyId', array(select jsonb_array_elements_text(p->'roles')))
    && array['operator', 'admin', '*'] then return 'role'; end if;
  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  perform append_entries(p->'entries');
  return 'ok';
end $$;

-- ---------------------------------------------------------------- least privilege
revoke all on all tables in schema actguard from public;
revoke execute on all functions in schema actguard from public;
grant execute on all functions in schema actguard to actguard_worker;
