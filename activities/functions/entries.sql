-- The ledger: entries are written here and nowhere else; writing twice is harmless.

create or replace function actguard.append_entries(p_entries jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare e jsonb; new_id bigint;
begin
  if jsonb_array_length(p_entries) > 8 then -- many at once: one statement for all of them; for a few, a loop is cheaper
    with given as materialized (select value as g, n from jsonb_array_elements(p_entries) with ordinality as t (value, n)),
    kept as (
      insert into entries (tenant, run, key, kind, seq, call, body)
      select g->>'tenant', coalesce(g->>'run', ''), g->>'key', g->>'kind', (g->>'seq')::int, g->>'call', convert_to(g->>'body', 'UTF8')
      from given order by n
      on conflict (run, tenant, key) do nothing returning id, run, tenant, key
    ),
    waits as (insert into ledger_pending (entry_id) select id from kept)
    insert into entry_contents (entry_id, content)
    select k.id, g->'content' from given
    join kept k on k.run = coalesce(g->>'run', '') and k.tenant = g->>'tenant' and k.key = g->>'key'
    where jsonb_typeof(g->'content') = 'object' order by n on conflict (entry_id) do nothing;
    return;
  end if;
  for e in select value from jsonb_array_elements(p_entries) loop
    -- one statement: the entry and its place among those that wait to be sealed
    with kept as (
      insert into entries (tenant, run, key, kind, seq, call, body)
      values (e->>'tenant', coalesce(e->>'run', ''), e->>'key', e->>'kind', (e->>'seq')::int, e->>'call', convert_to(e->>'body', 'UTF8'))
      on conflict (run, tenant, key) do nothing returning id
    )
    insert into ledger_pending (entry_id) select id from kept returning entry_id into new_id;
    if new_id is not null and jsonb_typeof(e->'content') = 'object' then
      insert into entry_contents (entry_id, content) values (new_id, e->'content');
    end if;
  end loop;
end $$;

-- Reading the ledger: filters, stable paging by id. Bodies come as the text whose UTF-8 bytes are kept.
create or replace function actguard.list_entries(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('id', e.id, 'kind', e.kind, 'tenant', e.tenant, 'run', nullif(e.run, ''), 'seq', e.seq,
    'call', e.call, 'insertedAtMs', ms(e.inserted_at), 'body', convert_from(e.body, 'UTF8'), 'content', c.content)
  from entries e left join entry_contents c on c.entry_id = e.id
  where e.id > coalesce((p->>'after')::bigint, 0)
    and (p->>'tenant' is null or e.tenant = p->>'tenant')
    and (p->>'run' is null or e.run = p->>'run')
    and (p->>'kind' is null or e.kind = p->>'kind')
    and (p->>'call' is null or e.call = p->>'call')
    and (p->>'tool' is null or convert_from(e.body, 'UTF8')::jsonb #>> '{data,tool}' = p->>'tool')
  order by e.id limit least(coalesce((p->>'limit')::int, 100), 1000)
$$;

-- How many entries of each kind a run has.
create or replace function actguard.count_entries(p_run text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select coalesce(jsonb_object_agg(kind, n), '{}'::jsonb)
  from (select kind, count(*) as n from entries where p_run is null or run = p_run group by kind) k
$$;
