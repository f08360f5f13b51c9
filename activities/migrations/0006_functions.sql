-- Which version of functions/*.sql stands in this database. Tables change in numbered files, functions are replaced
-- whenever their text changed (activities/migrate.ts).
create table actguard.functions (
  one boolean primary key default true check (one),
  version text not null,                 -- of the package that brought them
  digest text not null,                  -- SHA-256 over all files
  applied_at timestamptz not null default clock_timestamp()
);
revoke all on all tables in schema actguard from public;
