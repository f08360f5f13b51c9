-- A question may become known without its run: by a person, a late outcome, the janitor. The run is told, for certain.
alter table actguard.calls
  add column untold boolean not null default false; -- what becomes known of it was not found by the run itself, and it has not looked since
create index calls_untold on actguard.calls (finished_at) where untold;

revoke all on all tables in schema actguard from public;
