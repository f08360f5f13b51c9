-- A turn's text while it is written: kept for those who watch, gone when the call has ended.

-- Watches a run until p.untilMs from now, and answers what is being said there beyond what was seen:
-- [{ call, text }]; p.seen is { "<call>": characters }.
create or replace function actguard.watch_run(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_run(p->>'run');
  if not exists (select from runs where run = p->>'run') then return '[]'; end if; -- not opened yet, or another tenant's
  insert into watchers (run, until) values (p->>'run', clock_timestamp() + ms_interval((p->>'untilMs')::bigint))
    on conflict (run) do update set until = excluded.until;
  return (select coalesce(jsonb_agg(jsonb_build_object('call', l.call, 'text', l.more)), '[]'::jsonb) from (
    select call, substr(text, coalesce((p #>> array['seen', call])::int, 0) + 1) as more
    from live_text where run = p->>'run') l where l.more <> '');
end $$;

-- Whether somebody watches: a call's text is kept while it is written only then.
create or replace function actguard.is_watched(p_run text) returns boolean
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select exists (select from watchers where run = p_run and until > clock_timestamp())
$$;

-- More of what a call is saying, at most p.maxChars in all; a call that is not under way says nothing.
create or replace function actguard.say(p jsonb) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_run(p->>'run');
  insert into live_text as l (run, call, text)
  select m.run, m.call, left(p->>'text', (p->>'maxChars')::int) from model_calls m
  where m.run = p->>'run' and m.call = p->>'call' and m.state = 'started'
  on conflict (run, call) do update set text = left(l.text || excluded.text, (p->>'maxChars')::int), said_at = clock_timestamp()
$$;

-- What was left by workers that died, and by those who watched.
create or replace function actguard.forget_live() returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  delete from live_text where said_at < clock_timestamp() - interval '20 minutes';
  delete from watchers where until < clock_timestamp() - interval '1 minute';
$$;
