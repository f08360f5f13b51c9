-- Sealing. Functions named seal_… may be called by actguard_sealer only (activities/functions.ts).

-- The latest checkpoint, null before the first; and the database's time.
create or replace function actguard.seal_head() returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'size', coalesce(max(size), 0),
    'note', (select note from ledger_checkpoints order by size desc limit 1),
    'cosigned', (select cosigned from ledger_checkpoints order by size desc limit 1),
    'leaves', (select coalesce(max(idx) + 1, 0) from ledger_leaves)) from ledger_checkpoints
$$;

-- Hashes of perfect subtrees, level 0 are leaves; in the order that they were asked for, null where there is none.
create or replace function actguard.seal_nodes(p_levels int[], p_indexes bigint[]) returns table (hash bytea)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select * from ledger_node_hashes(p_levels, p_indexes)
$$;

-- What waits, oldest first, as leaf hashes (RFC 6962: SHA-256 of 0x00 and the bytes).
create or replace function actguard.seal_pending(p_limit int) returns table (entry_id bigint, hash bytea)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select p.entry_id, sha256('\x00'::bytea || e.body) from ledger_pending p join entries e on e.id = p.entry_id
  order by p.entry_id limit p_limit
$$;

-- Moves pending entries to leaves and publishes the checkpoint over them, all or nothing. 'moved': the head is not the
-- one that this was computed from; whoever asked looks again.
create or replace function actguard.seal_append(p_from bigint, p_entries bigint[], p_hashes bytea[],
  p_levels int[], p_indexes bigint[], p_nodes bytea[], p_note text) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_taken bigint; v_to bigint := p_from + cardinality(p_entries);
begin
  perform pg_advisory_xact_lock(hashtextextended('actguard:seal', 0));
  if coalesce((select max(size) from ledger_checkpoints), 0) <> p_from
    or coalesce((select max(idx) + 1 from ledger_leaves), 0) <> p_from then return 'moved'; end if;
  delete from ledger_pending where entry_id = any(p_entries);
  get diagnostics v_taken = row_count;
  if v_taken <> cardinality(p_entries) then
    raise exception 'actguard: an entry that is sealed does not wait any more' using errcode = '40001';
  end if;
  insert into ledger_leaves (idx, entry_id, hash)
  select p_from + i - 1, e, h from unnest(p_entries, p_hashes) with ordinality as t (e, h, i);
  insert into ledger_nodes (level, idx, hash) select l, x, h from unnest(p_levels, p_indexes, p_nodes) as t (l, x, h);
  insert into ledger_checkpoints (size, note) values (v_to, p_note);
  return 'ok';
end $$;

-- A checkpoint's note with the lines of witnesses; the text and the log's own lines stay as they are.
create or replace function actguard.seal_cosigned(p_size bigint, p_before text, p_note text) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  update ledger_checkpoints set note = p_note, cosigned = true
  where size = p_size and note = p_before and starts_with(p_note, note);
  return found;
end $$;
