-- Freezes beyond a run. A thaw is a command that a worker has verified: its nonce is used and the freeze lifted in one
-- transaction, so that neither happens without the other.

-- What holds, oldest first; p_tenant null: everywhere. Freezes of every tenant are always among them.
create function actguard.list_freezes(p_tenant text default null) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('tenant', tenant, 'scope', scope, 'value', value, 'by', set_by, 'reason', reason, 'setAtMs', ms(set_at))
  from freezes where p_tenant is null or tenant in (p_tenant, '*') order by id
$$;

-- What verifying a command for a tenant needs: the time and the key.
create function actguard.tenant_command_context(p_tenant text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'key', find_key(p_tenant, p_key))
$$;

-- Lifts a freeze by a verified command: 'ok', 'used', 'expired', 'role', 'none' (nothing is frozen there; the nonce stays
-- unused). `root`: signed by an administrator's root, which the worker's configuration pins and no row here stands for.
create function actguard.thaw_scope(p jsonb) returns text
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

-- Records a refused command of a known key; at most p.max an hour and tenant.
create function actguard.record_refused_command(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  if (select count(*) from entries where run = '' and tenant = p->>'tenant' and kind = 'command.invalid'
      and inserted_at > clock_timestamp() - interval '1 hour') < (p->>'max')::int then
    perform append_entries(p->'entries');
  end if;
end $$;

-- ---------------------------------------------------------------- least privilege
revoke all on all tables in schema actguard from public;
revoke execute on all functions in schema actguard from public;
grant execute on all functions in schema actguard to actguard_worker;
