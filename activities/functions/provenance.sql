-- Where the values of a run came from.

-- Keeps what a call's outcome showed. Arguments (level `user`) count as the user's words only while the run has seen
-- nothing untrusted, and nothing of our own people that could have worded them.
create or replace function actguard.note_provenance(p_run text, p_call text, p_rows jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_run(p_run);
  insert into provenance (run, call, level, words, tokens, grams)
  select p_run, p_call, e->>'level', (e->>'words')::boolean, decode(coalesce(e->>'tokens', ''), 'base64'),
    decode(coalesce(e->>'grams', ''), 'base64')
  from jsonb_array_elements(p_rows) e
  where e->>'level' <> 'user' or not exists (
    select from provenance s where s.run = p_run and (s.level = 'internal' or (s.level = 'untrusted' and s.words)))
  on conflict (run, call, level) do nothing;
end $$;

-- Rows after p_after, oldest first, and how many there are up to it: a transaction that began earlier may have committed
-- later. At least one line, with a null id where nothing is new.
create or replace function actguard.read_provenance(p_run text, p_after bigint)
returns table (id bigint, call text, level text, words boolean, tokens bytea, grams bytea, known bigint)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select s.id, s.call, s.level, s.words, s.tokens, s.grams, k.known
  from (select count(*) as known from provenance o where o.run = p_run and o.id <= p_after) k
  left join provenance s on s.run = p_run and s.id > p_after
  order by s.id
$$;

-- Stored results of some of a run's calls, in order: the words that an approver is shown.
create or replace function actguard.outputs_of(p_run text, p_calls text[])
returns table (call text, tool text, result jsonb)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select c.call, c.tool, c.result from calls c where c.run = p_run and c.call = any (p_calls) order by c.seq
$$;
