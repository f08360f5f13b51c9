-- Freezes, and the locks that make them hold before the next claim.

-- The first freeze that holds for a call, as JSON; null where none does. The caller holds the control locks. A model is
-- asked for where its calls start; its name has a slash, which no tool's has.
create or replace function actguard.freeze_of(p_tenant text, p_run text, p_user text, p_agent text, p_tool text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('scope', scope, 'value', value, 'by', set_by, 'reason', reason)
  from freezes
  where (tenant = p_tenant or tenant = '*')
    and ((scope = 'all') or (scope = 'tenant' and value = p_tenant) or (scope = 'run' and value = p_run)
      or (scope = 'user' and value = p_user) or (scope = 'agent' and value = p_agent) or (scope in ('tool', 'model') and value = p_tool))
  order by id limit 1
$$;

-- Claims share these locks, a freeze takes them alone: when a freeze has committed, no claim that began before it
-- can still commit without having seen it.
create or replace function actguard.share_control(p_tenant text) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('actguard:control:*', 0)),
    pg_advisory_xact_lock_shared(hashtextextended('actguard:control:' || p_tenant, 0));
end $$;

create or replace function actguard.set_freeze(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  insert into freezes (tenant, scope, value, set_by, reason)
  values (p->>'tenant', p->>'scope', p->>'value', p->>'by', p->>'reason')
  on conflict (tenant, scope, value) do nothing;
  perform append_entries(p->'entries');
end $$;

create or replace function actguard.lift_freeze(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  delete from freezes where tenant = p->>'tenant' and scope = p->>'scope' and value = p->>'value';
  if not found then return false; end if;
  perform append_entries(p->'entries');
  return true;
end $$;

-- What holds, oldest first; p_tenant null: everywhere. Freezes of every tenant are always among them.
create or replace function actguard.list_freezes(p_tenant text default null) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('tenant', tenant, 'scope', scope, 'value', value, 'by', set_by, 'reason', reason, 'setAtMs', ms(set_at))
  from freezes where p_tenant is null or tenant in (p_tenant, '*') order by id
$$;

-- Lifts a freeze by a verified command: 'ok', 'used', 'expired', 'role', 'none' (nothing is frozen there; the nonce stays
-- unused). `root`: signed by an administrator's root, which the worker's configuration pins and no row here stands for.
create or replace function actguard.thaw_scope(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces;
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:nonce:' || (p->>'tenant') || ':' || (p->>'nonce'), 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then return case when c.delivery = p->>'delivery' then 'ok' else 'used' end; end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return 'expired'; end if;
  if not coalesce((p->>'root')::boolean, false) then
    perform 1 from keys where tenant = p->>'keyTenant' and key_id = p->>'keyId' for share;
    if not live_roles(p->>'keyTenant', p->>'person', p->>'keyId', array(select jsonb_array_elements_text(p->'roles')))
      && array['operator', 'admin', '*'] then return 'role'; end if;
  end if;
  if not lift_freeze(p) then return 'none'; end if;
  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  return 'ok';
end $$;
