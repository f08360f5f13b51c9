-- The outcome of a claimed call, and what a person resolves.

-- The outcome: the second transaction. Compare-and-set on the token; who was taken over is told `late` and the state.
create or replace function actguard.outcome(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare
  c calls; v_now timestamptz; v_open text[]; v_landed boolean; v_state text := p->>'state'; v_spent jsonb; v_marks jsonb;
begin
  perform bind_tenant(p->>'tenant');
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'gone'); end if;
  v_now := clock_timestamp();
  if c.token = p->>'token' and c.state = v_state and c.state <> 'unknown' then
    return jsonb_build_object('kind', 'ok', 'nowMs', ms(v_now)); -- written before: the answer was lost on its way
  end if;
  if c.token <> p->>'token' or c.state in ('succeeded', 'failed') then
    return jsonb_build_object('kind', 'late', 'state', c.state, 'result', c.result);
  end if;
  if c.late is not null and v_state <> 'succeeded' then
    perform settle_late(c);
    return jsonb_build_object('kind', 'late', 'state', 'succeeded', 'result', c.late);
  end if;
  v_open := array_remove(c.fate_open, c.token);
  v_landed := v_state = 'unknown' and c.sends and (p->>'landed' is distinct from 'no' or cardinality(v_open) = 0);
  if v_landed then v_open := v_open || c.token; end if;
  if c.accounts is not null and v_state <> 'retrying' then
    -- unknown: the worst case until it is known (D10), also where this attempt alone cost less
    v_spent := jsonb_build_object('calls', 1, 'usdMicros',
      greatest((p->>'spentMicros')::bigint, case when v_state = 'unknown' then (c.reserved->>'usdMicros')::bigint end));
  end if;
  update calls set state = v_state, result = p->'result', lease_until = v_now, charged = coalesce(v_spent, charged),
    failures = failures + (p->>'failed')::int,
    finished_at = case when v_state = 'retrying' then null else v_now end,
    resolved = coalesce(nullif(p->'resolved', 'null'::jsonb), resolved),
    freed_key = case when v_state = 'failed' then key_hash end,
    key_hash = case when v_state = 'failed' then null else key_hash end,
    key_expires_at = case when v_state = 'succeeded' then v_now + ms_interval(c.key_ttl_ms) end,
    fate_open = v_open,
    last_send_at = case when v_landed then v_now else last_send_at end,
    asked = asked + case when c.attempts > 1 and cardinality(c.fate_open) > 0 then 1 else 0 end,
    question = case when v_state = 'unknown' then coalesce(p #>> '{question,reason}', question) end,
    question_at = case when v_state = 'unknown' then coalesce(question_at, v_now) end,
    needs_person = v_state = 'unknown' and coalesce((p #>> '{question,needsPerson}')::boolean, false),
    ask_after = case when v_state = 'unknown' then v_now + ms_interval((p #>> '{question,askAgainMs}')::bigint) end
    where run = c.run and call = c.call;
  if c.breaker is not null and v_state <> 'retrying' then
    perform settle_breaker(c.breaker, c.token, p->>'breakerVerdict', (p->>'maxFails')::int);
  end if;
  if jsonb_array_length(p->'provenance') > 0 then perform note_provenance(c.run, c.call, p->'provenance'); end if;
  if v_spent is not null then v_marks := settle_call(c.accounts, c.reserved, c.charged, v_spent); end if;
  perform write_entries(p->'entries');
  return jsonb_build_object('kind', 'ok', 'nowMs', ms(v_now), 'marks', v_marks);
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
declare c calls; v_now timestamptz; v_last timestamptz;
begin
  perform bind_run(p->>'run');
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'not_found'); end if;
  v_now := clock_timestamp();
  if c.state = 'retrying' or (c.state = 'claimed' and c.lease_until > v_now) then
    return jsonb_build_object('kind', 'busy', 'leaseLeftMs', greatest(1, ms(c.lease_until) - ms(v_now) + 1));
  end if;
  if c.state in ('succeeded', 'failed') then
    return jsonb_build_object('kind', 'known', 'state', c.state, 'result', c.result);
  end if;
  if c.late is not null then
    perform settle_late(c);
    return jsonb_build_object('kind', 'known', 'state', 'succeeded', 'result', c.late);
  end if;
  -- a claim that has run out may have sent until its lease's end
  v_last := greatest(coalesce(c.last_send_at, c.last_claim_at), case when c.state = 'claimed' and c.sends then c.lease_until end);
  if p->>'state' = 'failed' and c.effect = 'write' and v_now < v_last + ms_interval(c.settles_within_ms) then
    return jsonb_build_object('kind', 'early', 'waitMs', ms(v_last) + c.settles_within_ms - ms(v_now) + 1);
  end if;
  update calls set state = p->>'state', result = p->'result', resolved = p->'resolved', finished_at = v_now,
    token = p->>'token', lease_until = v_now, ask_after = null, needs_person = false, untold = true,
    fate_open = case when c.state = 'claimed' and c.sends and c.token <> all (c.fate_open) then c.fate_open || c.token else c.fate_open end,
    last_send_at = v_last,
    freed_key = case when p->>'state' = 'failed' then key_hash end,
    key_hash = case when p->>'state' = 'failed' then null else key_hash end,
    key_expires_at = case when p->>'state' = 'succeeded' then v_now + ms_interval(c.key_ttl_ms) end
    where run = c.run and call = c.call;
  perform recharge_call(c, p #> '{result,spentMicros}');
  perform note_provenance(c.run, c.call, p->'provenance');
  perform write_entries(p->'entries');
  return jsonb_build_object('kind', 'ok');
end $$;
