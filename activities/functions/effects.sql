-- What may still land, takeovers, late outcomes and the questions of unknown outcomes (guards.md EX2, EX5).

-- Takes over a call whose claim has run out, or begins its next attempt: one call keeps its slot, its probe and its
-- approval (D6). The caller holds the row's lock and has compared. Answers whether this attempt may send: nothing of an
-- earlier one can still land, or the receiver honours the key for as long as a request may be under way.
create or replace function actguard.take_over(p jsonb, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare own calls; v_open text[]; v_last timestamptz; v_sends boolean; v_lease interval := ms_interval((p->>'leaseMs')::bigint);
begin
  select * into own from calls where run = p->>'run' and call = p->>'call' for update;
  v_open := own.fate_open;
  v_last := own.last_send_at;
  if own.state = 'claimed' and own.sends and own.effect = 'write' and not coalesce((p->>'transactional')::boolean, false) then
    if own.token <> all (v_open) then v_open := v_open || own.token; end if;
    -- whoever held it compares its own clock with this lease before each request
    v_last := greatest(v_last, own.lease_until);
  elsif own.state = 'unknown' and cardinality(v_open) = 0 then
    v_open := array[own.token];
    v_last := coalesce(v_last, own.finished_at, own.lease_until);
  end if;
  v_sends := cardinality(v_open) = 0 or (jsonb_typeof(p->'receiver') = 'object' and (p #>> '{receiver,keyTtlMs}' is null
    or p_now + ms_interval((p #>> '{receiver,withinMs}')::bigint)
      < own.claimed_at + ms_interval((p #>> '{receiver,keyTtlMs}')::bigint)));
  update calls set token = p->>'token', lease_until = p_now + v_lease, attempts = attempts + 1, state = 'claimed',
    last_claim_at = case when v_sends then p_now else last_claim_at end,
    fate_open = v_open, last_send_at = v_last, sends = v_sends, untold = coalesce((p->>'untold')::boolean, false)
    where run = own.run and call = own.call;
  if own.probe then
    update breakers set probe_token = p->>'token', probe_until = p_now + v_lease
    where breaker = own.breaker and probe_token = own.token;
  end if;
  return jsonb_build_object('kind', 'claimed', 'again', own.state, 'attempts', own.attempts + 1, 'failures', own.failures,
    'claimedAtMs', ms(own.claimed_at), 'nowMs', ms(p_now), 'sends', v_sends, 'mayHaveLanded', cardinality(v_open) > 0,
    'lastSendMs', ms(v_last), 'asked', own.asked);
end $$;

-- An attempt that was taken over has told meanwhile that it happened: that is what became of the call, whatever its other
-- attempts come to. The caller holds the row's lock; nothing may be sent any more.
create or replace function actguard.settle_late(c calls) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_now timestamptz := clock_timestamp();
begin
  update calls set state = 'succeeded', result = c.late, late = null, lease_until = v_now, finished_at = v_now,
    resolved = jsonb_build_object('by', 'late outcome'), key_expires_at = v_now + ms_interval(c.key_ttl_ms)
    where run = c.run and call = c.call;
  perform recharge_call(c, c.late->'spentMicros');
  if c.breaker is not null then perform settle_breaker(c.breaker, c.token, 'none', 1); end if;
end $$;

-- The same claim asks again because the answer to it was lost on its way: nothing has run under it.
create or replace function actguard.claimed_again(own calls, p jsonb, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  update calls set lease_until = p_now + ms_interval((p->>'leaseMs')::bigint) where run = own.run and call = own.call;
  return jsonb_build_object('kind', 'claimed', 'again', case when own.attempts > 1 then 'retrying' end, 'attempts', own.attempts,
    'failures', own.failures, 'claimedAtMs', ms(own.claimed_at), 'nowMs', ms(p_now), 'sends', own.sends,
    'mayHaveLanded', cardinality(own.fate_open) > 0, 'lastSendMs', ms(own.last_send_at), 'asked', own.asked);
end $$;

-- An outcome whose claim was taken over: kept. It answers an open question: a success at once, a certain failure when no
-- other attempt can have landed. `contradicts`: something else had been recorded, and this is no guess.
create or replace function actguard.late_outcome(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c calls; v_now timestamptz; v_open text[]; v_contradicts boolean := false;
begin
  perform bind_run(p->>'run');
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'gone'); end if;
  v_now := clock_timestamp();
  v_open := array_remove(c.fate_open, p->>'token');
  perform write_entries(p->'entries');
  if c.effect = 'read' then return jsonb_build_object('kind', 'kept', 'contradicts', false); end if;
  if p->>'state' = 'succeeded' then
    perform note_provenance(c.run, c.call, p->'provenance'); -- the run may read it as the call's result
    if c.state = 'unknown' then
      update calls set state = 'succeeded', result = p->'result', finished_at = v_now, fate_open = v_open, ask_after = null,
        needs_person = false, untold = true, resolved = jsonb_build_object('by', 'late outcome'),
        key_expires_at = v_now + ms_interval(c.key_ttl_ms)
      where run = c.run and call = c.call;
      perform recharge_call(c, p #> '{result,spentMicros}');
      return jsonb_build_object('kind', 'resolved');
    elsif c.state in ('claimed', 'retrying') then
      update calls set late = p->'result', fate_open = v_open where run = c.run and call = c.call;
      return jsonb_build_object('kind', 'kept', 'contradicts', false);
    elsif c.state = 'failed' then
      v_contradicts := true;
      perform recharge_call(c, p #> '{result,spentMicros}');
      -- it happened: the key must not be used again, where nobody has done so
      begin
        update calls set key_hash = freed_key, late = p->'result' where run = c.run and call = c.call and key_hash is null;
      exception when unique_violation then null;
      end;
    end if;
  elsif p->>'state' in ('failed', 'retrying') then
    if c.state = 'unknown' and cardinality(v_open) = 0 then
      update calls set state = 'failed', result = p->'result', finished_at = v_now, fate_open = v_open, ask_after = null,
        needs_person = false, untold = true, freed_key = key_hash, key_hash = null, resolved = jsonb_build_object('by', 'late outcome')
      where run = c.run and call = c.call;
      perform recharge_call(c, p #> '{result,spentMicros}');
      perform write_entries(p->'failed');
      return jsonb_build_object('kind', 'resolved');
    end if;
    v_contradicts := c.state = 'succeeded' and cardinality(v_open) = 0 and cardinality(c.fate_open) > 0 and c.resolved is not null;
    update calls set fate_open = v_open where run = c.run and call = c.call;
  end if;
  if v_contradicts then perform write_entries(p->'alarm'); end if;
  return jsonb_build_object('kind', 'kept', 'contradicts', v_contradicts, 'state', c.state);
end $$;

-- Open questions, oldest first. p_tenant null: of every tenant.
create or replace function actguard.list_questions(p_tenant text default null) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p_tenant, '*'));
  select jsonb_build_object('run', c.run, 'call', c.call, 'tenant', c.tenant, 'tool', c.tool, 'agent', r.agent, 'user', r.user_id,
    'reason', c.question, 'openedAtMs', ms(coalesce(c.question_at, c.finished_at, c.last_claim_at)), 'asked', c.asked,
    'askAfterMs', ms(c.ask_after), 'needsPerson', c.needs_person,
    'settledAtMs', ms(coalesce(c.last_send_at, c.last_claim_at)) + c.settles_within_ms, 'nowMs', ms(clock_timestamp()),
    'runStatus', r.status)
  from calls c join runs r on r.run = c.run
  where c.state = 'unknown' and (p_tenant is null or c.tenant = p_tenant)
  order by coalesce(c.question_at, c.finished_at), c.run, c.call limit 1000
$$;
