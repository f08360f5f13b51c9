-- Runs and their grants, calls and effects, rate slots, breakers, freezes and the ledger's entries.
-- Workers connect as a member of actguard_worker: no rights on tables, only EXECUTE on functions (SECURITY DEFINER).
create schema if not exists actguard;

create table actguard.entries (
  id bigint generated always as identity primary key,
  tenant text not null,
  run text not null default '',          -- '' for entries that belong to no run
  key text not null,                     -- unique per run: writing twice is harmless
  kind text not null,
  seq integer,
  call text,
  body bytea not null,                   -- canonical JSON (RFC 8785), the bytes that count
  inserted_at timestamptz not null default clock_timestamp(),
  unique (run, tenant, key)
);
create index entries_call on actguard.entries (run, call);
create table actguard.entry_contents (  -- erasable: arguments, outputs and shown text with their salts
  entry_id bigint primary key references actguard.entries (id),
  content jsonb not null
);

create function actguard.append_entries(p_entries jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare e jsonb; new_id bigint;
begin
  for e in select value from jsonb_array_elements(p_entries) loop
    insert into entries (tenant, run, key, kind, seq, call, body)
    values (e->>'tenant', coalesce(e->>'run', ''), e->>'key', e->>'kind', (e->>'seq')::int, e->>'call', convert_to(e->>'body', 'UTF8'))
    on conflict (run, tenant, key) do nothing returning id into new_id;
    if new_id is not null and jsonb_typeof(e->'content') = 'object' then
      insert into entry_contents (entry_id, content) values (new_id, e->'content');
    end if;
  end loop;
end $$;

-- ---------------------------------------------------------------- runs and grants
create table actguard.runs (
  run text primary key,
  tenant text not null,
  user_id text not null,
  agent text not null,
  mode text not null,
  workflow_id text not null,
  temporal_run text not null,            -- the Temporal run that may claim; a reset makes another one
  grant_json jsonb not null,             -- what the run was opened with: principal, tools, limits
  last_seq integer not null default 0,
  status text not null default 'open',   -- open, or how the run ended
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz
);
create index runs_open on actguard.runs (opened_at) where status = 'open';

create table actguard.freezes (
  id bigint generated always as identity primary key,
  tenant text not null,                  -- '*': every tenant
  scope text not null check (scope in ('run', 'tool', 'agent', 'user', 'tenant', 'all')),
  value text not null,
  set_by text not null,
  reason text not null,
  set_at timestamptz not null default clock_timestamp(),
  unique (tenant, scope, value)
);

-- The first freeze that holds for a call, as JSON; null where none does. The caller holds the control locks.
create function actguard.freeze_of(p_tenant text, p_run text, p_user text, p_agent text, p_tool text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('scope', scope, 'value', value, 'by', set_by, 'reason', reason)
  from freezes
  where (tenant = p_tenant or tenant = '*')
    and ((scope = 'all') or (scope = 'tenant' and value = p_tenant) or (scope = 'run' and value = p_run)
      or (scope = 'user' and value = p_user) or (scope = 'agent' and value = p_agent) or (scope = 'tool' and value = p_tool))
  order by id limit 1
$$;

-- Claims share these locks, a freeze takes them alone: when a freeze has committed, no claim that began before it
-- can still commit without having seen it.
create function actguard.share_control(p_tenant text) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('actguard:control:*', 0));
  perform pg_advisory_xact_lock_shared(hashtextextended('actguard:control:' || p_tenant, 0));
end $$;

create function actguard.set_freeze(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  insert into freezes (tenant, scope, value, set_by, reason)
  values (p->>'tenant', p->>'scope', p->>'value', p->>'by', p->>'reason')
  on conflict (tenant, scope, value) do nothing;
  perform append_entries(p->'entries');
end $$;

create function actguard.lift_freeze(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  delete from freezes where tenant = p->>'tenant' and scope = p->>'scope' and value = p->>'value';
  if not found then return false; end if;
  perform append_entries(p->'entries');
  return true;
end $$;

-- Whether this Temporal run may act for this run: 'ok', 'unknown' (never opened), 'closed', 'reset' (another Temporal
-- run than the one it was opened with and not its continuation).
create function actguard.check_run(p_run text, p_temporal_run text, p_continued_from text default null) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs;
begin
  select * into r from runs where run = p_run;
  if not found then return 'unknown'; end if;
  if r.temporal_run <> p_temporal_run then
    if p_continued_from is null or r.temporal_run <> p_continued_from then return 'reset'; end if;
    update runs set temporal_run = p_temporal_run where run = p_run and temporal_run = p_continued_from;
    if not found then return 'reset'; end if;
  end if;
  if r.status <> 'open' then return 'closed'; end if;
  return 'ok';
end $$;

-- Opens a run once. Answers 'opened', 'again' (the same Temporal run asks twice) or 'taken'.
create function actguard.open_run(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs;
begin
  insert into runs (run, tenant, user_id, agent, mode, workflow_id, temporal_run, grant_json)
  values (p->>'run', p->>'tenant', p->>'user', p->>'agent', p->>'mode', p->>'workflowId', p->>'temporalRun', p->'grant')
  on conflict (run) do nothing;
  if not found then
    select * into r from runs where run = p->>'run';
    if r.temporal_run = p->>'temporalRun' and r.workflow_id = p->>'workflowId' then return 'again'; end if;
    return 'taken';
  end if;
  perform append_entries(p->'entries');
  return 'opened';
end $$;

create function actguard.read_grant(p_run text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('grant', grant_json, 'workflowId', workflow_id, 'status', status,
    'openedAtMs', floor(extract(epoch from opened_at) * 1000)) from runs where run = p_run
$$;

-- Entries of the workflow's own and, at the end, the close.
create function actguard.record_run(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform append_entries(p->'entries');
  if p->>'status' is not null then
    update runs set status = p->>'status', last_seq = (p->>'lastSeq')::int, closed_at = clock_timestamp()
    where run = p->>'run' and status = 'open';
  end if;
end $$;

-- ---------------------------------------------------------------- calls and their effects
create table actguard.calls (
  run text not null references actguard.runs (run),
  call text not null,
  seq integer not null,
  tenant text not null,
  tool text not null,
  effect text not null,
  args_digest text not null,             -- of canonical arguments; this table is deletable
  state text not null check (state in ('claimed', 'retrying', 'succeeded', 'failed', 'unknown')),
  token text not null,                   -- who holds the claim
  lease_until timestamptz not null,
  attempts integer not null default 1,   -- claims of this call, takeovers included
  failures integer not null default 0,   -- attempts that ran and failed
  key_scope text,                        -- '' for the tenant, else the run
  key_hash text,                         -- null: the key is free
  key_expires_at timestamptz,
  on_duplicate text,
  settles_within_ms bigint not null,
  breaker text,
  probe boolean not null default false,
  reserved jsonb not null,
  approval text,
  result jsonb,                          -- what the caller gets: { kind, output | error, ... }
  resolved jsonb,                        -- how an unknown outcome became known
  claimed_at timestamptz not null,       -- the first claim
  last_claim_at timestamptz not null,    -- the last possible first send of the latest attempt
  finished_at timestamptz,
  primary key (run, call)
);
create unique index calls_effect_key on actguard.calls (tenant, tool, key_scope, key_hash) where key_hash is not null;
create index calls_open on actguard.calls (lease_until) where state in ('claimed', 'retrying');
create index calls_unknown on actguard.calls (tenant, finished_at) where state = 'unknown';

create table actguard.rate_slots (
  bucket text primary key,
  hits timestamptz[] not null            -- newest last; never longer than the limit
);

create table actguard.breakers (
  breaker text primary key,
  fails integer not null default 0,
  opened_at timestamptz,
  probe_token text,
  probe_until timestamptz
);

create function actguard.ms(p timestamptz) returns bigint language sql immutable as $$
  select floor(extract(epoch from p) * 1000)::bigint
$$;
create function actguard.ms_interval(p bigint) returns interval language sql immutable as $$
  select make_interval(secs => p / 1000.0)
$$;

-- The claim: one transaction, one round trip. Looks at everything in the order of guards.md O1, takes at the end,
-- so that a refusal at any step spends nothing (O2). With `look` it only looks.
create function actguard.claim(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare
  r runs; own calls; other calls; b breakers; v_hits timestamptz[]; v_now timestamptz; v_text text; v_freeze jsonb;
  v_period interval; v_probe boolean := false; v_lease interval := ms_interval((p->>'leaseMs')::bigint);
  v_key text := p #>> '{key,hash}'; v_scope text := coalesce(p #>> '{key,scope}', '');
begin
  perform append_entries(coalesce(p->'before', '[]'::jsonb));
  perform share_control(p->>'tenant');
  v_text := check_run(p->>'run', p->>'temporalRun', p->>'continuedFrom');
  if v_text <> 'ok' then return jsonb_build_object('kind', 'run', 'problem', v_text); end if;
  select * into r from runs where run = p->>'run';
  if r.tenant <> p->>'tenant' then return jsonb_build_object('kind', 'run', 'problem', 'unknown'); end if;

  -- this call itself: its own result, for ever
  select * into own from calls where run = p->>'run' and call = p->>'call' for update;
  v_now := clock_timestamp();
  if own.run is not null then
    if own.args_digest <> p->>'argsDigest' or own.tool <> p->>'tool' then
      return jsonb_build_object('kind', 'conflict', 'run', own.run, 'call', own.call);
    end if;
    if own.state in ('succeeded', 'failed') then
      return jsonb_build_object('kind', 'own', 'state', own.state, 'result', own.result);
    end if;
    if own.state = 'claimed' and own.lease_until > v_now then
      return jsonb_build_object('kind', 'busy', 'leaseLeftMs', ms(own.lease_until) - ms(v_now) + 1);
    end if;
  end if;

  v_freeze := freeze_of(r.tenant, r.run, r.user_id, r.agent, p->>'tool');
  if v_freeze is not null then return jsonb_build_object('kind', 'frozen', 'freeze', v_freeze); end if;

  if own.run is not null then
    if p->>'look' is not null then return jsonb_build_object('kind', 'ok'); end if;
    -- takeover by compare-and-set, or the next attempt: one call keeps its slot, its probe and its approval (D6)
    update calls set token = p->>'token', lease_until = v_now + v_lease, attempts = attempts + 1, last_claim_at = v_now, state = 'claimed'
      where run = own.run and call = own.call;
    if own.probe then
      update breakers set probe_token = p->>'token', probe_until = v_now + v_lease
      where breaker = own.breaker and probe_token = own.token;
    end if;
    return jsonb_build_object('kind', 'claimed', 'again', own.state, 'attempts', own.attempts + 1, 'failures', own.failures,
      'claimedAtMs', ms(own.claimed_at), 'lastClaimMs', ms(own.last_claim_at), 'nowMs', ms(v_now), 'result', own.result);
  end if;

  -- this effect already done, by another call
  if v_key is not null then
    select * into other from calls
      where tenant = r.tenant and tool = p->>'tool' and key_scope = v_scope and key_hash = v_key for update;
    v_now := clock_timestamp();
    if other.run is not null and other.key_expires_at is not null and other.key_expires_at <= v_now then
      if p->>'look' is null then
        update calls set key_hash = null where run = other.run and call = other.call;
      end if;
      other := null;
    end if;
    if other.run is not null then
      if other.args_digest <> p->>'argsDigest' then
        return jsonb_build_object('kind', 'conflict', 'run', other.run, 'call', other.call);
      end if;
      return jsonb_build_object('kind', 'duplicate', 'run', other.run, 'call', other.call, 'state',
        case when other.state in ('claimed', 'retrying') and other.lease_until <= v_now then 'unknown' else other.state end,
        'result', other.result);
    end if;
  end if;

  -- rate limit, then breaker: looked at under their row locks
  if jsonb_typeof(p->'rate') = 'object' then
    v_period := ms_interval((p #>> '{rate,periodMs}')::bigint);
    insert into rate_slots (bucket, hits) values (p #>> '{rate,bucket}', '{}') on conflict do nothing;
    select hits into v_hits from rate_slots where bucket = p #>> '{rate,bucket}' for update;
    v_now := clock_timestamp();
    v_hits := array(select h from unnest(v_hits) h where h > v_now - v_period order by h);
    if cardinality(v_hits) >= (p #>> '{rate,maxCalls}')::int then
      -- the oldest of the last maxCalls hits has to leave the window
      return jsonb_build_object('kind', 'rate', 'retryAfterMs', greatest(1, ceil(extract(epoch from
        (v_hits[cardinality(v_hits) - (p #>> '{rate,maxCalls}')::int + 1] + v_period - v_now)) * 1000)::bigint));
    end if;
  end if;
  if jsonb_typeof(p->'breaker') = 'object' then
    insert into breakers (breaker) values (p #>> '{breaker,key}') on conflict do nothing;
    select * into b from breakers where breaker = p #>> '{breaker,key}' for update;
    v_now := clock_timestamp();
    if b.opened_at is not null then
      if v_now < b.opened_at + ms_interval((p #>> '{breaker,resetMs}')::bigint) then
        return jsonb_build_object('kind', 'open', 'resetAtMs', ms(b.opened_at) + (p #>> '{breaker,resetMs}')::bigint);
      elsif b.probe_until is not null and b.probe_until > v_now then
        return jsonb_build_object('kind', 'open', 'resetAtMs', ms(b.probe_until));
      end if;
      v_probe := true;
    end if;
  end if;
  if p->>'look' is not null then return jsonb_build_object('kind', 'ok'); end if;

  if p->>'approval' is not null then
    v_text := consume_approval(p->>'approval', p->>'run', p->>'call', coalesce(v_key, ''));
    if v_text <> 'ok' then return jsonb_build_object('kind', 'approval', 'problem', v_text); end if;
  end if;

  begin
    insert into calls (run, call, seq, tenant, tool, effect, args_digest, state, token, lease_until, key_scope, key_hash,
      on_duplicate, settles_within_ms, breaker, probe, reserved, approval, claimed_at, last_claim_at)
    values (p->>'run', p->>'call', (p->>'seq')::int, r.tenant, p->>'tool', p->>'effect', p->>'argsDigest', 'claimed', p->>'token',
      v_now + v_lease, v_scope, v_key, p #>> '{key,onDuplicate}', (p->>'settlesWithinMs')::bigint, p #>> '{breaker,key}', v_probe,
      p->'reserved', p->>'approval', v_now, v_now);
  exception when unique_violation then
    raise exception 'actguard: claimed at the same moment' using errcode = '40001'; -- the caller looks again
  end;
  if jsonb_typeof(p->'rate') = 'object' then
    update rate_slots set hits = v_hits || v_now where bucket = p #>> '{rate,bucket}';
  end if;
  if v_probe then
    update breakers set probe_token = p->>'token', probe_until = v_now + v_lease where breaker = b.breaker;
  end if;
  perform append_entries(p->'entries');
  return jsonb_build_object('kind', 'claimed', 'again', null, 'attempts', 1, 'failures', 0, 'claimedAtMs', ms(v_now),
    'lastClaimMs', ms(v_now), 'nowMs', ms(v_now));
end $$;

-- The state of a call; null: it was never claimed.
create function actguard.call_state(p_run text, p_call text) returns text
language sql stable security definer set search_path = actguard, pg_temp as $$
  select state from calls where run = p_run and call = p_call
$$;

-- What a question is about.
create function actguard.call_brief(p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('seq', seq, 'tool', tool, 'state', state) from calls where run = p_run and call = p_call
$$;

-- Renews a claim and, with it, the breaker's probe. False: somebody else holds it now.
create function actguard.renew_claim(p_run text, p_call text, p_token text, p_lease_ms bigint) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_until timestamptz := clock_timestamp() + ms_interval(p_lease_ms); v_breaker text;
begin
  update calls set lease_until = v_until where run = p_run and call = p_call and token = p_token and state = 'claimed'
    returning breaker into v_breaker;
  if not found then return false; end if;
  if v_breaker is not null then
    update breakers set probe_until = v_until where breaker = v_breaker and probe_token = p_token;
  end if;
  return true;
end $$;

-- What a call's final outcome does to its breaker (CB2, CB3). p_verdict: success, fail or none.
create function actguard.settle_breaker(p_breaker text, p_token text, p_verdict text, p_max_fails int) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare b breakers; v_now timestamptz;
begin
  select * into b from breakers where breaker = p_breaker for update;
  v_now := clock_timestamp();
  if b.probe_token = p_token then
    update breakers set probe_token = null, probe_until = null,
      opened_at = case p_verdict when 'success' then null when 'fail' then v_now else b.opened_at end,
      fails = case p_verdict when 'success' then 0 else b.fails end
    where breaker = p_breaker;
  elsif b.opened_at is null and p_verdict = 'success' then
    if b.fails > 0 then update breakers set fails = 0 where breaker = p_breaker; end if;
  elsif b.opened_at is null and p_verdict = 'fail' then
    update breakers set fails = b.fails + 1, opened_at = case when b.fails + 1 >= p_max_fails then v_now end
    where breaker = p_breaker;
  end if;
end $$;

-- The outcome: the second transaction. Compare-and-set on the token; who was taken over is told `late` and the state.
create function actguard.outcome(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c calls; v_now timestamptz;
begin
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'gone'); end if;
  v_now := clock_timestamp();
  if c.token <> p->>'token' or c.state in ('succeeded', 'failed') then
    return jsonb_build_object('kind', 'late', 'state', c.state, 'result', c.result);
  end if;
  update calls set state = p->>'state', result = p->'result', lease_until = v_now,
    failures = failures + (p->>'failed')::int,
    finished_at = case when p->>'state' = 'retrying' then null else v_now end,
    resolved = coalesce(p->'resolved', resolved),
    key_hash = case when p->>'state' = 'failed' then null else key_hash end,
    key_expires_at = case when p->>'state' = 'succeeded' and p->>'keyTtlMs' is not null
      then v_now + ms_interval((p->>'keyTtlMs')::bigint) end
    where run = c.run and call = c.call;
  if c.breaker is not null and p->>'state' <> 'retrying' then
    perform settle_breaker(c.breaker, c.token, p->>'breakerVerdict', (p->>'maxFails')::int);
  end if;
  perform append_entries(p->'entries');
  return jsonb_build_object('kind', 'ok', 'nowMs', ms(v_now));
end $$;

-- An outcome that came after its claim was taken over: kept, and it answers an open question.
create function actguard.late_outcome(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c calls;
begin
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'gone'); end if;
  perform append_entries(p->'entries');
  if c.state = 'unknown' and p->>'state' = 'succeeded' then
    update calls set state = 'succeeded', result = p->'result', finished_at = clock_timestamp(),
      resolved = jsonb_build_object('by', 'late outcome')
    where run = c.run and call = c.call;
    return jsonb_build_object('kind', 'resolved');
  end if;
  return jsonb_build_object('kind', 'kept', 'contradicts', c.state = 'failed' and p->>'state' = 'succeeded', 'state', c.state);
end $$;

-- A question answered: by reconcile or by a person (trust.md: `resolve` is a signed command, verified before this).
create function actguard.resolve_call(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c calls; v_now timestamptz;
begin
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'not_found'); end if;
  v_now := clock_timestamp();
  if c.state in ('claimed', 'retrying') and c.lease_until > v_now then
    return jsonb_build_object('kind', 'busy', 'leaseLeftMs', ms(c.lease_until) - ms(v_now) + 1);
  end if;
  if c.state in ('succeeded', 'failed') then
    return jsonb_build_object('kind', 'known', 'state', c.state, 'result', c.result);
  end if;
  if p->>'state' = 'failed' and v_now < c.last_claim_at + ms_interval(c.settles_within_ms + (p->>'timeoutMs')::bigint) then
    return jsonb_build_object('kind', 'early', 'waitMs',
      ms(c.last_claim_at) + c.settles_within_ms + (p->>'timeoutMs')::bigint - ms(v_now) + 1);
  end if;
  update calls set state = p->>'state', result = p->'result', resolved = p->'resolved', finished_at = v_now,
    token = p->>'token', key_hash = case when p->>'state' = 'failed' then null else key_hash end
    where run = c.run and call = c.call;
  perform append_entries(p->'entries');
  return jsonb_build_object('kind', 'ok');
end $$;

-- ---------------------------------------------------------------- least privilege
do $$ begin
  create role actguard_worker nologin;
exception when duplicate_object or unique_violation then null;
end $$;
do $$ begin
  -- workers and readers connect as whoever they are and act as this role
  execute format('grant actguard_worker to %I', current_user);
end $$;
revoke all on all tables in schema actguard from public;
revoke execute on all functions in schema actguard from public;
grant usage on schema actguard to actguard_worker;
grant execute on all functions in schema actguard to actguard_worker;
alter default privileges in schema actguard revoke execute on functions from public;
alter default privileges in schema actguard grant execute on functions to actguard_worker;
