-- Content at rest: what is kept is sealed and opened outside of the database (activities/content.ts).

-- What of a tenant still needs its content: runs that have not ended, and calls whose outcome is not known. At most p_limit each.
create or replace function actguard.content_needed(p_tenant text, p_limit int) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  select jsonb_build_object(
    'runs', coalesce((select jsonb_agg(r.run) from (
      select run from runs where tenant = p_tenant and status = 'open' order by opened_at limit p_limit) r), '[]'::jsonb),
    'calls', coalesce((select jsonb_agg(c.run || '/' || c.call) from (
      select run, call from calls where tenant = p_tenant and state in ('claimed', 'retrying', 'unknown')
      order by claimed_at limit p_limit) c), '[]'::jsonb))
$$;
