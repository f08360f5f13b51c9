-- Freezes, and the locks that make them hold before the next claim.

-- The first freeze that holds for a call, as JSON; null where none does. The caller holds the control locks. A model is
-- asked for where its calls start; its name has a slash, which no tool's has.
create or replace function actguard.freeze_of(p_tenant text, p_run text, p_user text, p_agent text, p_tool text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
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

-- Whether a scope names a call (of a tool or a model) of a run.
create or replace function actguard.in_scope(p_scope text, p_value text, r actguard.runs, p_tool text) returns boolean
language sql immutable as $$
  select case p_scope when 'all' then true when 'tenant' then r.tenant = p_value when 'user' then r.user_id = p_value
    when 'agent' then r.agent = p_value when 'run' then r.run = p_value else p_tool = p_value end
$$;

-- Stops the calls in flight that a scope names, of tools when they next renew their claims, of models when they next
-- look (both every 3 s); how many. The caller holds the control lock alone, so that none begins meanwhile.
create or replace function actguard.abort_calls(p_tenant text, p_scope text, p_value text) returns integer
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_tools integer; v_models integer;
begin
  update calls c set abort_at = clock_timestamp() from runs r
  where r.run = c.run and c.state = 'claimed' and c.lease_until > clock_timestamp() and (p_tenant = '*' or c.tenant = p_tenant)
    and in_scope(p_scope, p_value, r, c.tool);
  get diagnostics v_tools = row_count;
  update model_calls m set abort_at = clock_timestamp() from runs r
  where r.run = m.run and m.state = 'started' and not m.elsewhere and (p_tenant = '*' or r.tenant = p_tenant)
    and in_scope(p_scope, p_value, r, m.model);
  get diagnostics v_models = row_count;
  return v_tools + v_models;
end $$;

-- Whether a freeze asked to stop this model call.
create or replace function actguard.model_call_aborted(p_run text, p_call text) returns boolean
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select abort_at is not null from model_calls where run = p_run and call = p_call
$$;

-- Sets a freeze: { kind: 'set', aborted }, 'many' (p.max unsigned ones were set there within an hour: sign the next) or
-- 'unknown' (no such run is open there). One that holds already is set again only to abort.
create or replace function actguard.set_freeze(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_abort boolean := coalesce((p->>'abort')::boolean, false); v_aborted integer := 0;
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  if p->>'scope' = 'run' and not exists (select from runs where run = p->>'value' and tenant = p->>'tenant' and status = 'open') then
    return jsonb_build_object('kind', 'unknown');
  end if;
  if not v_abort and exists (select from freezes where tenant = p->>'tenant' and scope = p->>'scope' and value = p->>'value') then
    return jsonb_build_object('kind', 'set', 'aborted', 0);
  end if;
  if not coalesce((p->>'signed')::boolean, false) and (select count(*) from entries where run = '' and tenant = p->>'tenant'
      and kind = 'freeze.set' and inserted_at > clock_timestamp() - interval '1 hour') >= (p->>'max')::int then
    return jsonb_build_object('kind', 'many');
  end if;
  insert into freezes (tenant, scope, value, set_by, reason)
  values (p->>'tenant', p->>'scope', p->>'value', p->>'by', p->>'reason')
  on conflict (tenant, scope, value) do nothing;
  if v_abort then v_aborted := abort_calls(p->>'tenant', p->>'scope', p->>'value'); end if;
  perform write_entries(p->'entries');
  return jsonb_build_object('kind', 'set', 'aborted', v_aborted);
end $$;

-- The same by a verified command, without the limit: also 'used', 'expired', 'role'.
create or replace function actguard.set_signed_freeze(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces;
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:nonce:' || (p->>'tenant') || ':' || (p->>'nonce'), 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then
    return jsonb_build_object('kind', case when c.delivery = p->>'delivery' then 'set' else 'used' end, 'aborted', 0);
  end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return jsonb_build_object('kind', 'expired'); end if;
  if not may_command(p) then return jsonb_build_object('kind', 'role'); end if;
  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  return set_freeze(p || '{"signed": true}');
end $$;

create or replace function actguard.lift_freeze(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  delete from freezes where tenant = p->>'tenant' and scope = p->>'scope' and value = p->>'value';
  if not found then return false; end if;
  perform write_entries(p->'entries');
  return true;
end $$;

-- What holds, oldest first; p_tenant null: everywhere. Freezes of every tenant are always among them.
create or replace function actguard.list_freezes(p_tenant text default null) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p_tenant, '*'));
  select jsonb_build_object('tenant', tenant, 'scope', scope, 'value', value, 'by', set_by, 'reason', reason, 'setAtMs', ms(set_at))
  from freezes where p_tenant is null or tenant in (p_tenant, '*') order by id
$$;

-- Lifts a freeze by a verified command: 'ok', 'used', 'expired', 'role', 'none' (nothing is frozen there; the nonce stays
-- unused). `root`: signed by an administrator's root, which the worker's configuration pins and no row here stands for.
create or replace function actguard.thaw_scope(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces;
begin
  perform bind_tenant(p->>'tenant');
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
