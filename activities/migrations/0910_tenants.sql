-- Tenants are kept apart by the database itself. Our functions belong to actguard_functions, a role that is subject to
-- row-level security, and bind the tenant they work for (functions/tenants.sql); functions/zz-rows.sql has the policies.
do $$ begin
  if not exists (select from pg_roles where rolname = 'actguard_functions') then create role actguard_functions nologin; end if;
exception when duplicate_object or unique_violation then null;
end $$;
-- may call the functions that only read
do $$ begin
  if not exists (select from pg_roles where rolname = 'actguard_reader') then create role actguard_reader nologin; end if;
exception when duplicate_object or unique_violation then null;
end $$;
do $$ begin -- whoever migrates gives functions to it
  if not (pg_has_role(current_user, 'actguard_functions', 'set') and pg_has_role(current_user, 'actguard_functions', 'usage')) then
    execute format('grant actguard_functions to %I', current_user);
  end if;
end $$;
grant usage on schema actguard to actguard_functions, actguard_reader;

-- Logins that belong to one tenant: whatever they call sees that tenant only.
create table actguard.tenant_logins (
  login text primary key,                -- a role of this database server
  tenant text not null check (tenant not in ('', '*')),
  added_at timestamptz not null default clock_timestamp()
);

-- Every row of a tenant names it. Where a function writes a row without saying whose it is, it is the bound tenant's.
alter table actguard.entry_contents add column tenant text;
alter table actguard.model_calls add column tenant text;
alter table actguard.transcripts add column tenant text;
alter table actguard.provenance add column tenant text;
alter table actguard.account_windows add column tenant text;
alter table actguard.account_waits add column tenant text;
alter table actguard.watchers add column tenant text;
alter table actguard.live_text add column tenant text;
delete from actguard.watchers;
delete from actguard.live_text;
update actguard.entry_contents c set tenant = e.tenant from actguard.entries e where e.id = c.entry_id;
update actguard.model_calls m set tenant = r.tenant from actguard.runs r where r.run = m.run;
update actguard.transcripts t set tenant = r.tenant from actguard.runs r where r.run = t.run;
update actguard.provenance v set tenant = r.tenant from actguard.runs r where r.run = v.run;
update actguard.account_windows w set tenant = a.tenant from actguard.accounts a where a.id = w.account;
update actguard.account_waits w set tenant = a.tenant from actguard.accounts a where a.id = w.account;
delete from actguard.account_waits where tenant is null;
do $$ declare t text; begin
  foreach t in array array['entry_contents', 'model_calls', 'transcripts', 'provenance', 'account_windows', 'account_waits', 'watchers', 'live_text'] loop
    execute format('alter table actguard.%I alter column tenant set not null, alter column tenant set default current_setting(%L, true)',
      t, 'actguard.tenant');
  end loop;
end $$;
alter view actguard.expenses set (security_invoker = true);
revoke all on all tables in schema actguard from public;
