-- The outcome of a claimed call, late outcomes, and what a person resolves.

-- The outcome: the second transaction. Compare-and-set on the token; who was taken over is told `late` and the state.
create or replace function actguard.outcome(p jsonb) returns jsonb
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
create or replace function actguard.late_outcome(p jsonb) returns jsonb
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

-- What a call's final outcome does to its breaker (CB2, CB3). p_verdict: success, fail or none.
create or replace function actguard.settle_breaker(p_breaker text, p_token text, p_verdict text, p_max_fails int) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare b breakers; v_now timestamptz;
begin
  select * into b from breakers where breaker = p_breaker;
  if b.opened_at is null and b.probe_token is null and (p_verdict = 'none' or (p_verdict = 'success' and b.fails = 0)) then
    return; -- nothing to change: calls of one breaker do not queue for each other's commits
  end if;
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

-- A question answered: by reconcile or by a person (trust.md: `resolve` is a signed command, verified before this).
create or replace function actguard.resolve_call(p jsonb) returns jsonb
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
