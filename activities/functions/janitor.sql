-- What the janitor finds: claims whose worker is gone, questions that nobody asks, runs whose workflow is gone.

-- Claims that ran out p.graceMs ago and were not taken over, oldest first; and pauses between attempts in runs that have
-- ended, or that are a day old.
create or replace function actguard.lost_claims(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('run', c.run, 'call', c.call, 'seq', c.seq, 'tool', c.tool, 'tenant', c.tenant, 'effect', c.effect,
    'state', c.state, 'token', c.token, 'user', r.user_id, 'agent', r.agent, 'mayHaveLanded',
    c.effect = 'write' and ((c.state = 'claimed' and c.sends) or cardinality(c.fate_open) > 0), 'runStatus', r.status)
  from calls c join runs r on r.run = c.run
  where c.state in ('claimed', 'retrying') and c.lease_until < clock_timestamp() - ms_interval((p->>'graceMs')::bigint)
    and (c.state = 'claimed' and c.effect = 'write' or r.status <> 'open' or c.lease_until < clock_timestamp() - interval '1 day')
  order by c.lease_until limit (p->>'limit')::int
$$;

-- Ends a lost claim, unless somebody has it again: unknown with its question where it may have landed, else failed. The
-- worst case that was reserved stays charged until it is known (design, Who owns what).
create or replace function actguard.lose_claim(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c calls; v_now timestamptz; v_open text[]; v_unknown boolean := p->>'state' = 'unknown';
begin
  perform bind_run(p->>'run');
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  v_now := clock_timestamp();
  if not found or c.token <> p->>'token' or c.state <> p->>'from' or c.lease_until > v_now then return false; end if;
  if c.late is not null then
    perform settle_late(c); -- it happened: nothing is lost
    return false;
  end if;
  v_open := c.fate_open;
  if c.effect = 'write' and c.state = 'claimed' and c.sends and c.token <> all (v_open)
    and not coalesce((p->>'transactional')::boolean, false) then v_open := v_open || c.token; end if;
  if not v_unknown and cardinality(v_open) > 0 then return false; end if;
  update calls set state = p->>'state', finished_at = v_now, fate_open = v_open, result = p->'result',
    last_send_at = case when cardinality(v_open) > 0 then greatest(c.last_send_at, case when c.sends then c.lease_until end) end,
    freed_key = case when not v_unknown then key_hash end,
    key_hash = case when v_unknown then key_hash end,
    question = case when v_unknown then p #>> '{question,reason}' end,
    question_at = case when v_unknown then coalesce(question_at, v_now) end,
    needs_person = v_unknown and (p #>> '{question,needsPerson}')::boolean,
    ask_after = case when v_unknown then v_now + ms_interval((p #>> '{question,askAgainMs}')::bigint) end
    where run = c.run and call = c.call;
  if c.breaker is not null then perform settle_breaker(c.breaker, c.token, 'none', 1); end if;
  -- a read that ran may have been billed, whatever became of it
  if not v_unknown then perform recharge_call(c, c.reserved->'usdMicros');
  elsif c.accounts is not null and c.charged is null then
    update calls set charged = c.reserved where run = c.run and call = c.call;
    perform settle_call(c.accounts, c.reserved, null, c.reserved);
  end if;
  perform write_entries(p->'entries');
  return true;
end $$;

-- Questions that are due. A run that lives asks its own; its ones are here when it has not for p.graceMs.
create or replace function actguard.due_questions(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('run', c.run, 'call', c.call, 'tool', c.tool)
  from calls c join runs r on r.run = c.run
  where c.state = 'unknown' and c.ask_after is not null
    and c.ask_after < clock_timestamp() - case when r.status = 'open' then ms_interval((p->>'graceMs')::bigint) else '0' end
  order by c.ask_after limit (p->>'limit')::int
$$;

-- Everything that asking about a call needs; null: there is no such question. Arguments that were erased are null.
create or replace function actguard.question_call(p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('seq', c.seq, 'tool', c.tool, 'argsDigest', c.args_digest, 'approval', c.approval,
    'reserved', c.reserved, 'workflowId', r.workflow_id, 'temporalRun', r.temporal_run, 'runStatus', r.status,
    'content', (select ec.content from entries e join entry_contents ec on ec.entry_id = e.id
      where e.run = c.run and e.call = c.call and e.kind = 'call.started' limit 1))
  from calls c join runs r on r.run = c.run where c.run = p_run and c.call = p_call and c.state = 'unknown'
$$;

-- The claim of whoever asks about an unknown outcome, also when its run has ended. Answers as `claim` does.
create or replace function actguard.claim_question(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c calls; r runs; v_now timestamptz; v_freeze jsonb;
begin
  perform bind_tenant(p->>'tenant');
  perform share_control(p->>'tenant');
  select * into r from runs where run = p->>'run';
  select * into c from calls where run = p->>'run' and call = p->>'call' for update;
  v_now := clock_timestamp();
  if c.run is null or c.tenant <> p->>'tenant' then return jsonb_build_object('kind', 'run', 'problem', 'unknown'); end if;
  if c.state in ('succeeded', 'failed') then
    return jsonb_build_object('kind', 'own', 'state', c.state, 'result', c.result);
  end if;
  if c.state = 'claimed' and c.token = p->>'token' then return claimed_again(c, p, v_now); end if;
  if c.state <> 'unknown' then
    return jsonb_build_object('kind', 'busy', 'leaseLeftMs', greatest(1, ms(c.lease_until) - ms(v_now) + 1));
  end if;
  v_freeze := freeze_of(r.tenant, r.run, r.user_id, r.agent, c.tool);
  if v_freeze is not null then
    update calls set ask_after = v_now + ms_interval((p->>'frozenAskMs')::bigint) where run = c.run and call = c.call;
    return jsonb_build_object('kind', 'frozen', 'freeze', v_freeze);
  end if;
  return take_over(p || '{"untold": true}', v_now);
end $$;

-- Questions that became known without their run p.graceMs ago, and that it has not looked at since.
create or replace function actguard.untold_calls(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('run', c.run, 'call', c.call, 'workflowId', r.workflow_id, 'runStatus', r.status)
  from calls c join runs r on r.run = c.run
  where c.untold and c.state in ('succeeded', 'failed')
    and c.finished_at < clock_timestamp() - ms_interval((p->>'graceMs')::bigint)
  order by c.finished_at limit (p->>'limit')::int
$$;

-- Its run was told, or has ended.
create or replace function actguard.call_told(p_run text, p_call text) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  update calls set untold = false where run = p_run and call = p_call and state in ('succeeded', 'failed')
$$;

-- Nobody can ask about a call any more: a person has to say.
create or replace function actguard.give_up_question(p_run text, p_call text, p_reason text) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  update calls set ask_after = null, needs_person = true, question = p_reason
  where run = p_run and call = p_call and state = 'unknown'
$$;

-- Open runs that were not compared with Temporal for p.everyMs, longest first; they count as compared from now on.
create or replace function actguard.unchecked_runs(p jsonb) returns setof jsonb
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  update runs set checked_at = clock_timestamp() where run in (
    select run from runs where status = 'open'
      and coalesce(checked_at, opened_at) < clock_timestamp() - ms_interval((p->>'everyMs')::bigint)
    order by checked_at nulls first limit (p->>'limit')::int for update skip locked)
  returning jsonb_build_object('run', run, 'workflowId', workflow_id, 'temporalRun', temporal_run, 'tenant', tenant,
    'user', user_id, 'agent', agent, 'lastSeq', (select coalesce(max(seq), 0) from entries e where e.run = runs.run))
$$;

-- Closes a run whose workflow is gone; false: it was closed, or goes on under another Temporal run.
create or replace function actguard.close_lost_run(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_run(p->>'run');
  update runs set status = p->>'status', last_seq = (p->>'lastSeq')::int, closed_at = clock_timestamp()
    where run = p->>'run' and status = 'open' and temporal_run = p->>'temporalRun';
  if not found then return false; end if;
  delete from freezes where scope = 'run' and value = p->>'run'; -- what has ended needs no freeze
  perform write_entries(p->'entries');
  return true;
end $$;
