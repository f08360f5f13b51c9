-- Runs and their grants.

-- Whether this Temporal run may act for this run: 'ok', 'unknown' (never opened), 'closed', 'reset' (another Temporal
-- run than the one it was opened with and not its continuation).
create or replace function actguard.check_run(p_run text, p_temporal_run text, p_continued_from text default null) returns text
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

-- Opens a run once. Answers 'opened', 'again' (its own workflow asks twice: a second attempt, or a Temporal reset, whose
-- claims are refused until somebody recovers it) or 'taken'.
create or replace function actguard.open_run(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare r runs;
begin
  perform bind_tenant(p->>'tenant');
  perform ensure_accounts(p->>'tenant', p->>'user', p->>'agent', coalesce(p->'accounts', '[]'::jsonb));
  perform share_control(p->>'tenant'); -- an account that is made meanwhile finds this run, or this run finds it
  insert into runs (run, tenant, user_id, agent, mode, workflow_id, temporal_run, grant_json, accounts)
  values (p->>'run', p->>'tenant', p->>'user', p->>'agent', p->>'mode', p->>'workflowId', p->>'temporalRun',
    p->'grant' || jsonb_build_object('groups', groups_of(p->>'tenant', p->>'user', coalesce((p->>'maxGroups')::int, 0))),
    accounts_for(p->>'tenant', p->>'user', p->>'agent'))
  on conflict (run) do nothing;
  if not found then
    select * into r from runs where run = p->>'run';
    if r.workflow_id = p->>'workflowId' and (r.temporal_run = p->>'temporalRun' or r.status = 'open') then return 'again'; end if;
    return 'taken';
  end if;
  if jsonb_array_length(p->'provenance') > 0 then perform note_provenance(p->>'run', '', p->'provenance'); end if;
  perform write_entries(p->'entries');
  return 'opened';
end $$;

create or replace function actguard.read_grant(p_run text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('grant', grant_json, 'workflowId', workflow_id, 'status', status,
    'openedAtMs', floor(extract(epoch from opened_at) * 1000)) from runs where run = p_run
$$;

-- Entries of the workflow's own and, at the end, the close.
create or replace function actguard.record_run(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_run(p->>'run');
  perform write_entries(p->'entries');
  if p->>'status' is not null then
    update runs set status = p->>'status', last_seq = (p->>'lastSeq')::int, closed_at = clock_timestamp()
    where run = p->>'run' and status = 'open';
    delete from freezes where scope = 'run' and value = p->>'run'; -- what has ended needs no freeze
  end if;
end $$;
