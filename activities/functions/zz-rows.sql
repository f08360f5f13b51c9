-- The policies that keep tenants apart, and who may do what to which table. Last of all files: it gives the functions
-- above to the role that row-level security holds.
grant create on schema actguard to actguard_functions;
do $$
declare
  t record; f record; v_bound constant text := 'current_setting(''actguard.tenant'', true)'; v_own text; v_shared text;
begin
  for t in
    select c.oid, c.relname as name, c.relrowsecurity as secured, exists (select from pg_attribute a
      where a.attrelid = c.oid and a.attname = 'tenant' and not a.attisdropped) as has_tenant
    from pg_class c where c.relnamespace = 'actguard'::regnamespace and c.relkind = 'r' order by 2
  loop
    continue when t.name in ('migrations', 'functions', 'tenant_logins'); -- our functions have no business there
    -- nothing of ours changes or removes what was recorded; the tree is the sealer's
    execute format('grant select, insert%s on actguard.%I to actguard_functions',
      case when t.name in ('entries', 'ledger_pending', 'ledger_leaves', 'ledger_nodes', 'ledger_checkpoints') then '' else ', update, delete' end, t.name);
    if t.name in ('ledger_leaves', 'ledger_nodes', 'ledger_checkpoints') then
      execute format('revoke insert on actguard.%I from actguard_functions', t.name);
    end if;
    continue when not t.has_tenant or t.secured;
    v_own := format('(tenant = %1$s and tenant <> '''') or %1$s = ''*''', v_bound); -- where nothing is bound, nothing is written
    v_shared := format('tenant in (%1$s, ''*'') or %1$s = ''*''', v_bound); -- rows of '*' are every tenant's to read
    if t.name = 'answers' then -- its tenant is the key's; the ask's decides, and asks have a policy of their own
      v_own := 'exists (select from actguard.approvals a where a.approval = answers.approval)';
      v_shared := v_own;
    elsif t.name in ('sign_counts', 'page_sessions') then -- of keys, which may be every tenant's
      v_own := v_shared;
    end if;
    v_shared := case when t.name in ('people', 'keys', 'freezes', 'active_policies', 'policy_activations', 'policy_proposals',
      'entries', 'entry_contents', 'sign_counts', 'page_sessions', 'answers') then v_shared else v_own end;
    execute format('alter table actguard.%I enable row level security', t.name);
    execute format('create policy tenant_read on actguard.%I for select to actguard_functions using (%s)', t.name, v_shared);
    execute format('create policy tenant_insert on actguard.%I for insert to actguard_functions with check (%s)', t.name, v_own);
    -- a row lock needs what an update needs: locked may be what is read, written only what is the tenant's own
    execute format('create policy tenant_update on actguard.%I for update to actguard_functions using (%s) with check (%s)', t.name, v_shared, v_own);
    execute format('create policy tenant_delete on actguard.%I for delete to actguard_functions using (%s)', t.name, v_own);
  end loop;
  grant select on actguard.expenses to actguard_functions;
  for f in select p.oid::regprocedure as name, p.proowner::regrole::text as owner from pg_proc p
    where p.pronamespace = 'actguard'::regnamespace and p.prosecdef and not starts_with(p.proname, 'seal_')
      and not starts_with(p.proname, 'bind_') and p.proname <> 'kept_to'
  loop
    if f.owner <> 'actguard_functions' then execute format('alter function %s owner to actguard_functions', f.name); end if;
  end loop;
end $$;
revoke create on schema actguard from actguard_functions;
