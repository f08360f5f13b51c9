-- Model calls, and transcripts by reference.

-- Stored results of calls, for the model: { "<ref>": result }. A call of another run is read only within the tenant
-- (a repeated effect answers with the first result).
create or replace function actguard.read_results(p_tenant text, p_refs jsonb) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  select coalesce(jsonb_object_agg(w.ref->>'ref', jsonb_build_object('state', c.state, 'result', c.result)), '{}'::jsonb)
  from jsonb_array_elements(p_refs) as w(ref)
  join calls c on c.run = w.ref->>'run' and c.call = w.ref->>'call' and c.tenant = p_tenant
$$;

-- Whether an attempt of this call has started, whatever came of it.
create or replace function actguard.model_call_begun(p_run text, p_call text) returns boolean
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select exists (select from model_calls where run = p_run and call = p_call)
$$;

-- The start of a model call: one transaction, one round trip. Answers
--   run { problem } | frozen { freeze } | policies (another set is active than p.policy: decide again) | budget { ... } (reserve_accounts) | finished { result } | lost | conflict | started { turns, results }.
-- `lost`: an earlier attempt started and left no outcome; it may have been sent, so nothing is sent again.
create or replace function actguard.start_model_call(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs; m model_calls; v_text text; v_freeze jsonb; v_budget jsonb;
begin
  perform bind_tenant(p->>'tenant');
  perform write_entries(coalesce(p->'before', '[]'::jsonb));
  perform share_control(p->>'tenant');
  v_text := check_run(p->>'run', p->>'temporalRun', p->>'continuedFrom');
  if v_text <> 'ok' then return jsonb_build_object('kind', 'run', 'problem', v_text); end if;
  select * into r from runs where run = p->>'run';
  if r.tenant <> p->>'tenant' then return jsonb_build_object('kind', 'run', 'problem', 'unknown'); end if;

  select * into m from model_calls where run = r.run and call = p->>'call' for update;
  if found then
    update model_calls set attempt = attempt + 1 where run = m.run and call = m.call;
    if m.turn <> (p->>'turn')::int or m.seq <> (p->>'seq')::int then return jsonb_build_object('kind', 'conflict'); end if;
    if m.state <> 'started' then return jsonb_build_object('kind', 'finished', 'result', m.result); end if;
    if coalesce((p->>'elsewhere')::boolean, false) then -- nothing was sent by the worker that died
      return jsonb_build_object('kind', 'started', 'turns', '[]'::jsonb, 'results', '{}'::jsonb);
    end if;
    update model_calls set state = 'lost', result = p->>'lostResult', finished_at = clock_timestamp(), spent = m.reserved
      where run = m.run and call = m.call;
    if m.accounts is not null then perform settle_call(m.accounts, m.reserved, m.charged, m.reserved); end if;
    delete from live_text where run = m.run and call = m.call;
    perform write_entries(p->'lostEntries');
    return jsonb_build_object('kind', 'lost');
  end if;

  v_freeze := freeze_of(r.tenant, r.run, r.user_id, r.agent, p->>'model');
  if v_freeze is not null then return jsonb_build_object('kind', 'frozen', 'freeze', v_freeze); end if;
  if active_policy(r.tenant) is distinct from p->>'policy' then return jsonb_build_object('kind', 'policies'); end if;
  if r.accounts is not null then
    v_budget := reserve_accounts(r.accounts, p->>'label', p->'reserved');
    if v_budget->>'kind' <> 'held' then return v_budget; end if;
    v_budget := nullif(v_budget->'held', 'null');
  end if;
  begin
    insert into model_calls (run, call, seq, turn, model, reserved, accounts, label, elsewhere)
    values (r.run, p->>'call', (p->>'seq')::int, (p->>'turn')::int, p->>'model', p->'reserved', v_budget, p->>'label',
      coalesce((p->>'elsewhere')::boolean, false));
  exception when unique_violation then
    raise exception 'actguard: started at the same moment' using errcode = '40001'; -- Temporal tries again
  end;
  perform write_entries(p->'entries');
  return jsonb_build_object('kind', 'started', 'watched', is_watched(r.run),
    'turns', coalesce((select jsonb_agg(jsonb_build_object('turn', t.turn, 'messages', t.messages, 'digest', t.digest, 'parent', t.parent)
      order by t.turn) from transcripts t where t.run = r.run), '[]'::jsonb),
    'results', read_results(r.tenant, p->'refs'));
end $$;

-- The outcome. Answers ok; late (the call was given up meanwhile: its bill is kept, its answer is not used);
-- conflict (the turn stands already, or does not follow from the last one); gone.
create or replace function actguard.finish_model_call(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare m model_calls; v_last transcripts; t jsonb := p->'transcript'; v_marks jsonb;
begin
  perform bind_run(p->>'run');
  select * into m from model_calls where run = p->>'run' and call = p->>'call' for update;
  if not found then return jsonb_build_object('kind', 'gone'); end if;
  delete from live_text where run = m.run and call = m.call;
  if m.state <> 'started' then
    if coalesce((p->>'elsewhere')::boolean, false) and m.result = p->>'result' then -- the same settlement, tried again
      return jsonb_build_object('kind', 'ok');
    end if;
    perform write_entries(p->'lateEntries');
    return jsonb_build_object('kind', 'late');
  end if;
  if m.accounts is not null then v_marks := settle_call(m.accounts, m.reserved, m.charged, p->'spent'); end if;
  if jsonb_typeof(t) = 'object' then
    select * into v_last from transcripts where run = m.run order by turn desc limit 1;
    if (v_last.run is not null and v_last.turn >= m.turn) or v_last.digest is distinct from t->>'parent' then
      update model_calls set state = 'failed', usage = p->'usage', result = p->>'conflictResult', finished_at = clock_timestamp(), spent = p->'spent'
        where run = m.run and call = m.call;
      perform write_entries(p->'conflictEntries');
      return jsonb_build_object('kind', 'conflict', 'marks', v_marks);
    end if;
    insert into transcripts (run, turn, messages, digest, parent, bytes, call)
    values (m.run, m.turn, t->>'messages', t->>'digest', t->>'parent', (t->>'bytes')::int, m.call);
  end if;
  update model_calls set state = p->>'state', usage = p->'usage', result = p->>'result', finished_at = clock_timestamp(), spent = p->'spent'
    where run = m.run and call = m.call;
  perform write_entries(p->'entries');
  return jsonb_build_object('kind', 'ok', 'marks', v_marks);
end $$;

-- A run's transcript, oldest turn first.
create or replace function actguard.read_transcript(p_run text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select coalesce(jsonb_agg(jsonb_build_object('turn', t.turn, 'messages', t.messages, 'digest', t.digest, 'parent', t.parent)
    order by t.turn), '[]'::jsonb) from transcripts t where t.run = p_run
$$;
