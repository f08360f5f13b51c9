-- What a model is saying right now, for those who watch its run. Content: kept until the call has ended, in no write-ahead
-- log and no backup; after a crash of the database it is gone, and nothing depends on it.
create unlogged table actguard.watchers (
  run text primary key,
  until timestamptz not null
);
create unlogged table actguard.live_text (
  run text not null,
  call text not null,
  text text not null,
  said_at timestamptz not null default clock_timestamp(),
  primary key (run, call)
);
revoke all on actguard.watchers, actguard.live_text from public;
