-- Signed commands: thaw, top-up and what else gives something back.

create or replace function actguard.command_context(p_run text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'tenant', r.tenant, 'key', find_key(r.tenant, p_key))
  from (select 1) one left join runs r on r.run = p_run
$$;

-- Uses a verified command's nonce: 'ok', 'used', 'expired', 'role'.
create or replace function actguard.use_command(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces;
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:nonce:' || (p->>'tenant') || ':' || (p->>'nonce'), 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then return case when c.delivery = p->>'delivery' then 'ok' else 'used' end; end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return 'expired'; end if;
  perform 1 from keys where tenant = p->>'keyTenant' and key_id = p->>'keyId' for share;
  if not live_roles(p->>'keyTenant', p->>'person', p->>'keyId', array(select jsonb_array_elements_text(p->'roles')))
    && array['operator', 'admin', '*'] then return 'role'; end if;
  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  if p->>'verb' = 'thaw' then -- of a run: what holds in its claims; the run itself hears of it next
    perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
    delete from freezes where tenant = p->>'tenant' and scope = 'run' and 'run:' || value = p->>'target';
  end if;
  perform write_entries(p->'entries');
  return 'ok';
end $$;

-- What verifying a command for a tenant needs: the time and the key.
create or replace function actguard.tenant_command_context(p_tenant text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'key', find_key(p_tenant, p_key))
$$;

-- Records a refused command of a known key; at most p.max an hour and tenant.
create or replace function actguard.record_refused_command(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant(p->>'tenant');
  if (select count(*) from entries where run = '' and tenant = p->>'tenant' and kind = 'command.invalid'
      and inserted_at > clock_timestamp() - interval '1 hour') < (p->>'max')::int then
    perform write_entries(p->'entries');
  end if;
end $$;
