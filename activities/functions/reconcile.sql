-- Comparing runs that have ended with their workflows' histories.

-- Runs that ended p.afterMs ago and were not compared, oldest first; each is looked at again after p.everyMs at the earliest.
create or replace function actguard.unreconciled_runs(p jsonb) returns setof jsonb
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  update runs set checked_at = clock_timestamp() where run in (
    select run from runs where reconciled_at is null and closed_at < clock_timestamp() - ms_interval((p->>'afterMs')::bigint)
      and coalesce(checked_at, '-infinity') < clock_timestamp() - ms_interval((p->>'everyMs')::bigint)
    order by closed_at limit (p->>'limit')::int for update skip locked)
  returning jsonb_build_object('run', run, 'tenant', tenant, 'workflowId', workflow_id,
    'endedAgoMs', ms(clock_timestamp()) - ms(closed_at))
$$;

-- Calls of a run that the ledger tells of, and whether one started.
create or replace function actguard.told_calls(p_run text) returns table (call text, started boolean)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select e.call, bool_or(e.kind = 'call.started') from entries e where e.run = p_run and e.call is not null group by e.call
$$;

-- A run was compared; without entries: there is nothing to compare with any more. False: somebody else did.
create or replace function actguard.reconcile_run(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_run(p->>'run');
  update runs set reconciled_at = clock_timestamp() where run = p->>'run' and reconciled_at is null;
  if not found then return false; end if;
  perform write_entries(p->'entries');
  return true;
end $$;
