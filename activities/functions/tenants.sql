-- Whose rows a function sees. Our functions run as actguard_functions, which row-level security holds to the tenant in
-- the setting actguard.tenant: '' sees nothing, '*' every tenant. Each binds it first, for its transaction, in the same
-- round trip: from its tenant argument, which a worker takes from the run's grant, or from the run it is about. These
-- functions alone belong to who migrated, and look past the policies.

-- The tenant that this connection is kept to: by its login's row in tenant_logins, which the login cannot change, or by
-- its own wish (actguard.session_tenant, set when it connects); null: it serves every tenant.
create or replace function actguard.kept_to() returns text
language sql stable security definer set search_path = actguard, pg_temp as $$
  select coalesce((select tenant from tenant_logins where login = session_user),
    nullif(current_setting('actguard.session_tenant', true), ''))
$$;

-- Binds a tenant. A connection that is kept to one gets that one for '*', and an error for another.
create or replace function actguard.bind_tenant(p_tenant text) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_kept text := (select tenant from tenant_logins where login = session_user);
begin
  v_kept := coalesce(v_kept, nullif(current_setting('actguard.session_tenant', true), '')); -- kept_to(), without the call
  if v_kept is not null and p_tenant is distinct from '*' and p_tenant is distinct from v_kept then
    raise exception 'this connection is kept to tenant %', v_kept using errcode = 'AG403';
  end if;
  perform set_config('actguard.tenant', coalesce(v_kept, p_tenant, ''), true);
end $$;

-- Binds the tenant of a run; a run that is not there, or not the connection's, leaves nothing to see.
create or replace function actguard.bind_run(p_run text) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_kept text := kept_to(); v_tenant text;
begin
  select tenant into v_tenant from runs where run = p_run;
  perform set_config('actguard.tenant', case when v_kept is null or v_kept = v_tenant then coalesce(v_tenant, '') else '' end, true);
end $$;

-- Binds the tenant of an ask, likewise.
create or replace function actguard.bind_approval(p_approval text) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_run((select run from approvals where approval = p_approval))
$$;

-- Binds a tenant where nothing is bound yet: inside another function its binding stands. What a connection that is kept
-- to a tenant has set by itself does not.
create or replace function actguard.bind_unbound(p_tenant text) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_kept text := kept_to(); v_bound text := coalesce(current_setting('actguard.tenant', true), '');
begin
  if v_bound = '' or (v_kept is not null and v_bound <> v_kept) then perform bind_tenant(p_tenant); end if;
end $$;
