-- The ledger: entries are written here and nowhere else; writing twice is harmless.

create or replace function actguard.append_entries(p_entries jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant(p_entries #>> '{0,tenant}');
  perform write_entries(p_entries);
end $$;

-- The same inside a function that has bound its tenant.
create or replace function actguard.write_entries(p_entries jsonb) returns void
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
    insert into entry_contents (entry_id, tenant, content)
    select k.id, k.tenant, g->'content' from given
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
      insert into entry_contents (entry_id, tenant, content) values (new_id, e->>'tenant', e->'content');
    end if;
  end loop;
end $$;

-- What an entry says, for filters. jsonb cannot hold U+0000.
create or replace function actguard.entry_data(p_body bytea) returns jsonb
language sql immutable set search_path = actguard, pg_temp as $$
  select replace(convert_from(p_body, 'UTF8'), '\u0000', '\ufffd')::jsonb->'data'
$$;

-- What an entry is about in micro-dollars: what was spent, else what was reserved; null: no money.
create or replace function actguard.entry_micros(p_data jsonb) returns bigint
language sql immutable set search_path = actguard, pg_temp as $$
  select case when jsonb_typeof(m) = 'number' then m::numeric::bigint end
  from (select coalesce(p_data->'spentMicros', p_data #> '{spent,usdMicros}', p_data #> '{reserved,usdMicros}') as m) amount
$$;

-- Whether all filters hold for an entry.
create or replace function actguard.entry_matches(e entries, p jsonb) returns boolean
language sql stable security definer set search_path = actguard, pg_temp as $$
  select (p->>'tenant' is null or e.tenant = p->>'tenant')
    and (p->>'run' is null or e.run = p->>'run')
    and (p->>'kind' is null or e.kind = p->>'kind')
    and (p->>'call' is null or e.call = p->>'call')
    and (p->>'sinceMs' is null or ms(e.inserted_at) >= (p->>'sinceMs')::bigint)
    and (p->>'untilMs' is null or ms(e.inserted_at) < (p->>'untilMs')::bigint)
    and (p->>'tool' is null or coalesce(entry_data(e.body)->>'tool', entry_data(e.body)->>'model') = p->>'tool')
    and (p->>'code' is null or entry_data(e.body)->>'code' = p->>'code')
    and (p->>'user' is null or entry_data(e.body)->>'user' = p->>'user'
      or exists (select from runs r where r.run = e.run and r.user_id = p->>'user'))
    and (p->>'minMicros' is null or coalesce(entry_micros(entry_data(e.body)) >= (p->>'minMicros')::bigint, false))
    and (p->>'maxMicros' is null or coalesce(entry_micros(entry_data(e.body)) <= (p->>'maxMicros')::bigint, false))
$$;

create or replace function actguard.entry_json(e entries) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('id', e.id, 'kind', e.kind, 'tenant', e.tenant, 'run', nullif(e.run, ''), 'seq', e.seq,
    'call', e.call, 'insertedAtMs', ms(e.inserted_at), 'body', convert_from(e.body, 'UTF8'), 'content', (select c.content from entry_contents c where c.entry_id = e.id))
$$;

-- An id before the first entry of a time, found in a few looks by the primary key: ids and times grow together, give or take how
-- long a transaction may last. 0 where no time is given.
create or replace function actguard.id_before(p_since_ms bigint) returns bigint
language plpgsql stable security definer set search_path = actguard, pg_temp as $$
declare v_low bigint := 0; v_high bigint; v_middle bigint; v_at timestamptz; v_since timestamptz := to_timestamp(p_since_ms / 1000.0) - interval '10 minutes';
begin
  perform bind_unbound('*');
  if p_since_ms is null then return 0; end if;
  select coalesce(max(id), 0) into v_high from entries;
  while v_low < v_high loop -- every entry up to v_low is older
    v_middle := (v_low + v_high) / 2;
    select inserted_at into v_at from entries where id > v_middle order by id limit 1;
    if v_at < v_since then v_low := v_middle + 1; else v_high := v_middle; end if;
  end loop;
  return v_low;
end $$;

-- Reading the ledger: a page after an id, oldest first. Bodies come as the text whose UTF-8 bytes are kept.
create or replace function actguard.list_entries(p jsonb) returns setof jsonb
language plpgsql stable security definer set search_path = actguard, pg_temp as $$
declare v_after bigint := coalesce((p->>'after')::bigint, 0); v_limit int := least(coalesce((p->>'limit')::int, 100), 1000);
begin
  perform bind_tenant(coalesce(p->>'tenant', '*'));
  v_after := greatest(v_after, id_before((p->>'sinceMs')::bigint));
  if p->>'run' is not null then -- by its index, however long the ledger is
    return query select entry_json(e) from entries e where e.run = p->>'run' and e.id > v_after and entry_matches(e, p)
      order by e.id limit v_limit;
  else
    return query select entry_json(e) from entries e where e.id > v_after and entry_matches(e, p) order by e.id limit v_limit;
  end if;
end $$;

-- The latest entries, newest first.
create or replace function actguard.newest_entries(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p->>'tenant', '*'));
  select entry_json(e) from entries e where entry_matches(e, p) order by e.id desc limit least(coalesce((p->>'limit')::int, 100), 1000)
$$;

-- One entry by its id, with its place in the sealed ledger; null where there is none.
create or replace function actguard.read_entry(p_id bigint) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select entry_json(e) || jsonb_build_object('leaf', (select l.idx from ledger_leaves l where l.entry_id = e.id)) from entries e where e.id = p_id
$$;

-- How many entries of each kind a run has.
create or replace function actguard.count_entries(p_run text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select case when p_run is null then bind_tenant('*') else bind_run(p_run) end;
  select coalesce(jsonb_object_agg(kind, n), '{}'::jsonb)
  from (select kind, count(*) as n from entries where p_run is null or run = p_run group by kind) k
$$;
