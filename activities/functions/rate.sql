-- The rate limit: a sliding log of the claims of one key (RL1), oldest first, on the database's clock (RL6). Hits never go
-- back in time, even where the clock does: whether a window is full is one look at the hit that has to leave it.

-- Milliseconds until there is room; null: there is. The oldest of the last p_max hits has to leave the window.
create or replace function actguard.rate_wait(p_hits timestamptz[], p_max int, p_period interval, p_now timestamptz) returns bigint
language sql immutable as $$
  select case when cardinality(p_hits) >= p_max and p_hits[cardinality(p_hits) - p_max + 1] > p_now - p_period
    then greatest(1, ceil(extract(epoch from (p_hits[cardinality(p_hits) - p_max + 1] + p_period - p_now)) * 1000)::bigint) end
$$;

-- Takes a slot in one statement, under the key's row lock: null, or milliseconds until there is room, and none is taken
-- (RL2). Hits outside of the window go once they are half of all: each is looked at a bounded number of times.
create or replace function actguard.take_slot(p_bucket text, p_max int, p_period interval) returns bigint
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  insert into rate_slots as s (bucket, hits) values (p_bucket, array[clock_timestamp()])
  on conflict (bucket) do update set hits = (
    case when s.hits[(cardinality(s.hits) + 1) / 2] <= clock_timestamp() - p_period
      then array(select x from unnest(s.hits) x where x > clock_timestamp() - p_period) else s.hits end)
    || greatest(clock_timestamp(), s.hits[cardinality(s.hits)])
  where cardinality(s.hits) < p_max or s.hits[cardinality(s.hits) - p_max + 1] <= clock_timestamp() - p_period;
  if found then return null; end if;
  return coalesce((select rate_wait(hits, p_max, p_period, clock_timestamp()) from rate_slots where bucket = p_bucket), 1);
end $$;
