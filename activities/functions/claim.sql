-- The claim: one transaction, one round trip. Looks at everything in the order of guards.md O1, takes at the end,
-- so that a refusal at any step spends nothing (O2). With `look` it only looks.
create or replace function actguard.claim(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare
  r runs; own calls; other calls; b breakers; v_wait bigint; v_now timestamptz; v_text text; v_freeze jsonb;
  v_probe boolean := false; v_lease interval := ms_interval((p->>'leaseMs')::bigint);
  v_key text := p #>> '{key,hash}'; v_scope text := coalesce(p #>> '{key,scope}', '');
  v_budget jsonb;
begin
  perform bind_tenant(p->>'tenant');
  if jsonb_array_length(p->'before') > 0 then perform write_entries(p->'before'); end if;
  perform share_control(p->>'tenant');
  select * into r from runs where run = p->>'run';
  if r.run is null or r.temporal_run <> p->>'temporalRun' or r.status <> 'open' then
    v_text := check_run(p->>'run', p->>'temporalRun', p->>'continuedFrom');
    if v_text <> 'ok' then
      -- what it did before is still its own: a run that was reset, or has ended, does nothing new
      return coalesce(own_result(p), jsonb_build_object('kind', 'run', 'problem', v_text));
    end if;
    select * into r from runs where run = p->>'run';
  end if;
  if r.tenant <> p->>'tenant' then return jsonb_build_object('kind', 'run', 'problem', 'unknown'); end if;

  if p->>'after' is not null and p->>'after' is distinct from r.accepted_gap
      and not exists (select from calls where run = r.run and call = p->>'after') then
    perform note_gap(r.run, p->>'after');
    return jsonb_build_object('kind', 'run', 'problem', 'restored');
  end if;

  -- this call itself: its own result, for ever
  select * into own from calls where run = p->>'run' and call = p->>'call' for update;
  v_now := clock_timestamp();
  if own.run is not null then
    if own.args_digest <> p->>'argsDigest' or own.tool <> p->>'tool' then
      return jsonb_build_object('kind', 'conflict', 'run', own.run, 'call', own.call);
    end if;
    if own.state in ('succeeded', 'failed') then
      if own.untold then update calls set untold = false where run = own.run and call = own.call; end if;
      return jsonb_build_object('kind', 'own', 'state', own.state, 'result', own.result);
    end if;
    if own.state = 'claimed' and own.token = p->>'token' then return claimed_again(own, p, v_now); end if;
    if own.state = 'claimed' and own.lease_until > v_now then
      return jsonb_build_object('kind', 'busy', 'leaseLeftMs', ms(own.lease_until) - ms(v_now) + 1);
    end if;
    if own.state in ('claimed', 'retrying') and own.late is not null then
      -- whoever had it last is gone, and one before told that it happened: not sent again
      perform settle_late(own);
      return jsonb_build_object('kind', 'own', 'state', 'succeeded', 'result', own.late);
    end if;
  end if;

  if exists (select from freezes) then
    v_freeze := freeze_of(r.tenant, r.run, r.user_id, r.agent, p->>'tool');
    if v_freeze is not null then return jsonb_build_object('kind', 'frozen', 'freeze', v_freeze); end if;
  end if;
  -- decided under another set than the active one (null: under the worker's files): decide again
  if own.run is null and (select digest from active_policies where role = 'enforced' and tenant in (r.tenant, '*')
      and digest is not null order by tenant = '*' limit 1) is distinct from p->>'policy' then
    return jsonb_build_object('kind', 'policies');
  end if;

  if own.run is not null then
    if p->>'look' is not null then return jsonb_build_object('kind', 'ok'); end if;
    return take_over(p, v_now);
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
        case when other.state = 'claimed' and other.lease_until <= v_now then 'unknown' else other.state end,
        'result', other.result);
    end if;
  end if;

  -- rate limit, then breaker: looked at; the slot is taken last, so that a hot key is locked for one update and the commit
  if jsonb_typeof(p->'rate') = 'object' then
    v_wait := rate_wait((select hits from rate_slots where bucket = p #>> '{rate,bucket}'), (p #>> '{rate,maxCalls}')::int,
      ms_interval((p #>> '{rate,periodMs}')::bigint), clock_timestamp());
    if v_wait is not null then return jsonb_build_object('kind', 'rate', 'retryAfterMs', v_wait); end if;
  end if;
  if jsonb_typeof(p->'breaker') = 'object' then
    -- a closed breaker is read without its lock: calls of one breaker do not queue for each other's commits
    select * into b from breakers where breaker = p #>> '{breaker,key}';
    if b.breaker is null then
      insert into breakers (breaker) values (p #>> '{breaker,key}') on conflict do nothing;
    elsif b.opened_at is not null then
      select * into b from breakers where breaker = p #>> '{breaker,key}' for update;
      v_now := clock_timestamp();
    end if;
    if b.opened_at is not null then
      if v_now < b.opened_at + ms_interval((p #>> '{breaker,resetMs}')::bigint) then
        return jsonb_build_object('kind', 'open', 'resetAtMs', ms(b.opened_at) + (p #>> '{breaker,resetMs}')::bigint, 'nowMs', ms(v_now));
      elsif b.probe_until is not null and b.probe_until > v_now then
        return jsonb_build_object('kind', 'open', 'resetAtMs', ms(b.probe_until), 'nowMs', ms(v_now));
      end if;
      v_probe := true;
    end if;
  end if;
  if p->>'look' is not null then return jsonb_build_object('kind', 'ok'); end if;

  -- accounts before the approval: a refusal here leaves it unused (O3)
  if r.accounts is not null then
    v_budget := reserve_accounts(r.accounts, p->>'label', p->'reserved');
    if v_budget->>'kind' <> 'held' then return v_budget; end if;
    v_budget := nullif(v_budget->'held', 'null');
  end if;

  if p->>'approval' is not null then
    v_text := consume_approval(p->>'approval', p->>'run', p->>'call', coalesce(v_key, ''));
    if v_text <> 'ok' then
      if v_budget is not null then perform settle_call(v_budget, p->'reserved', null, null); end if;
      return jsonb_build_object('kind', 'approval', 'problem', v_text);
    end if;
  end if;

  insert into calls (run, call, seq, tenant, tool, effect, args_digest, state, token, lease_until, key_scope, key_hash,
    on_duplicate, settles_within_ms, breaker, probe, reserved, approval, claimed_at, last_claim_at, key_ttl_ms,
    accounts, label)
  values (p->>'run', p->>'call', (p->>'seq')::int, r.tenant, p->>'tool', p->>'effect', p->>'argsDigest', 'claimed', p->>'token',
    v_now + v_lease, v_scope, v_key, p #>> '{key,onDuplicate}', (p->>'settlesWithinMs')::bigint, p #>> '{breaker,key}', v_probe,
    p->'reserved', p->>'approval', v_now, v_now, (p->>'keyTtlMs')::bigint,
    v_budget, p->>'label')
  on conflict do nothing;
  if not found then
    raise exception 'actguard: claimed at the same moment' using errcode = '40001'; -- the caller looks again
  end if;
  if v_probe then
    update breakers set probe_token = p->>'token', probe_until = v_now + v_lease where breaker = b.breaker;
  end if;
  perform write_entries(p->'entries');
  if jsonb_typeof(p->'rate') = 'object' then
    v_wait := take_slot(p #>> '{rate,bucket}', (p #>> '{rate,maxCalls}')::int, ms_interval((p #>> '{rate,periodMs}')::bigint));
    if v_wait is not null then -- filled since it was looked at: nothing of this claim stands, the caller looks again
      raise exception '%', v_wait using errcode = 'AG001';
    end if;
  end if;
  return jsonb_build_object('kind', 'claimed', 'again', null, 'attempts', 1, 'failures', 0, 'claimedAtMs', ms(v_now),
    'nowMs', ms(v_now), 'sends', true, 'mayHaveLanded', false, 'lastSendMs', null, 'asked', 0);
end $$;

-- Renews a claim and, with it, the breaker's probe: 'held', 'lost' (somebody else holds it now) or 'abort' (held, and a
-- freeze asked to stop what is in flight).
create or replace function actguard.renew_claim(p_run text, p_call text, p_token text, p_lease_ms bigint) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_until timestamptz := clock_timestamp() + ms_interval(p_lease_ms); v_breaker text; v_abort boolean;
begin
  perform bind_run(p_run);
  update calls set lease_until = v_until where run = p_run and call = p_call and token = p_token and state = 'claimed'
    returning breaker, abort_at > last_claim_at into v_breaker, v_abort;
  if not found then return 'lost'; end if;
  if v_breaker is not null then
    update breakers set probe_until = v_until where breaker = v_breaker and probe_token = p_token;
  end if;
  return case when v_abort then 'abort' else 'held' end;
end $$;

-- The state of a call; null: it was never claimed.
create or replace function actguard.call_state(p_run text, p_call text) returns text
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select state from calls where run = p_run and call = p_call
$$;

-- What a question is about.
create or replace function actguard.call_brief(p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('seq', seq, 'tool', tool, 'state', state) from calls where run = p_run and call = p_call
$$;
