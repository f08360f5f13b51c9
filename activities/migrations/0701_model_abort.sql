-- A freeze may stop model calls in flight, too: each sees it when it next looks (every 3 s).
alter table actguard.model_calls
  add column abort_at timestamptz,
  add column elsewhere boolean not null default false; -- the caller asks the provider: nothing here can stop it
drop function if exists actguard.abort_run(jsonb);     -- a run is frozen like every other scope
revoke all on all tables in schema actguard from public;
