-- Runs and their grants, calls and effects, rate slots, breakers, freezes and the ledger's entries.
-- Workers connect as a member of actguard_worker: no rights on tables, only EXECUTE on functions (SECURITY DEFINER).
create schema if not exists actguard;

create table actguard.entries (
  id bigint generated always as identity primary key,
  tenant text not null,
  run text not null default '',          -- '' for entries that belong to no run
  key text not null,                     -- unique per run: writing twice is harmless
  kind text not null,
  seq integer,
  call text,
  body bytea not null,                   -- canonical JSON (RFC 8785), the bytes that count
  inserted_at timestamptz not null default clock_timestamp(),
  unique (run, tenant, key)
);
create index entries_call on actguard.entries (run, call);
create table actguard.entry_contents (  -- erasable: arguments, outputs and shown text with their salts
  entry_id bigint primary key references actguard.entries (id),
  content jsonb not null
);

create function actguard.append_entries(p_entries jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare e jsonb; new_id bigint;
begin
  for e in select value from jsonb_array_elements(p_entries) loop
    insert into entries (tenant, run, key, kind, seq, call, body)
    values (e->>'tenant', coalesce(e->>'run', ''), e->>'key', e->>'kind', (e->>'seq')::int, e->>'call', convert_to(e->>'body', 'UTF8'))
    on conflict (run, tenant, key) do nothing returning id into new_id;
    if new_id is not null and jsonb_typeof(e->'content') = 'object' then
      insert into entry_contents (entry_id, content) values (new_id, e->'content');
    end if;
  end loop;
end $$;
