-- Runs whose identity does not fit: reset in Temporal, or older than they should be (a restored database).

-- Where a run is governed.
create or replace function actguard.run_place(p_run text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('workflowId', workflow_id, 'tenant', tenant, 'status', status) from runs where run = p_run
$$;

-- Notes that a call is missing which its run has seen recorded.
create or replace function actguard.note_gap(p_run text, p_call text) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  update runs set missing_call = p_call where run = p_run
$$;

-- Lets a run go on under another Temporal run, without what is missing: 'ok', 'closed', 'same' (nothing was wrong).
create or replace function actguard.recover_run(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs;
begin
  perform bind_run(p->>'run');
  select * into r from runs where run = p->>'run' for update;
  if r.status <> 'open' then return 'closed'; end if;
  if r.temporal_run = p->>'temporalRun' and r.missing_call is not distinct from r.accepted_gap then return 'same'; end if;
  update runs set temporal_run = p->>'temporalRun', accepted_gap = missing_call where run = r.run;
  perform write_entries(p->'entries');
  return 'ok';
end $$;

-- A call's own finished result, as `claim` answers it; null: it has none.
create or replace function actguard.own_result(p jsonb) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('kind', 'own', 'state', state, 'result', result) from calls
  where run = p->>'run' and call = p->>'call' and tenant = p->>'tenant' and tool = p->>'tool'
    and args_digest = p->>'argsDigest' and state in ('succeeded', 'failed')
$$;
