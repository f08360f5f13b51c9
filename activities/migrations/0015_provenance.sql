-- What a run has seen, as hashes salted per run: what vouches for a value, what taints one. Deletable with the run.
create table actguard.provenance (
  id bigint generated always as identity,
  run text not null references actguard.runs (run),
  call text not null,
  level text not null check (level in ('user', 'trusted', 'internal', 'untrusted', 'private')),
  words boolean not null,                -- whether it holds words: numbers alone persuade nobody
  tokens bytea not null,                 -- 8 bytes for each whole value that it vouches for
  grams bytea not null,                  -- pieces of what it taints with; empty: nothing
  primary key (run, call, level)
);
create index provenance_run on actguard.provenance (run, id);
alter table actguard.provenance alter column grams set storage external; -- hashes do not compress
alter table actguard.provenance alter column tokens set storage external;

revoke all on all tables in schema actguard from public;
