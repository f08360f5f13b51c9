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

-- ---------------------------------------------------------------- runs and grants
create table actguard.runs (
  run text primary key,
  tenant text not null,
  user_id text not null,
  agent text not null,
  mode text not null,
  workflow_id text not null,
  temporal_run text not null,            -- the Temporal run that may claim; a reset makes another one
  grant_json jsonb not null,             -- what the run was opened with: principal, tools, limits
  last_seq integer not null default 0,
  status text not null default 'open',   -- open, or how the run ended
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz
);
create index runs_open on actguard.runs (opened_at) where status = 'open';

create table actguard.freezes (
  id bigint generated always as identity primary key,
  tenant text not null,                  -- '*': every tenant
  scope text not null check (scope in ('run', 'tool', 'agent', 'user', 'tenant', 'all')),
  value text not null,
  set_by text not null,
  reason text not null,
  set_at timestamptz not null default clock_timestamp(),
  unique (tenant, scope, value)
);

-- ---------------------------------------------------------------- calls and their effects
create table actguard.calls (
  run text not null references actguard.runs (run),
  call text not null,
  seq integer not null,
  tenant text not null,
  tool text not null,
  effect text not null,
  args_digest text not null,             -- of canonical arguments; this table is deletable
  state text not null check (state in ('claimed', 'retrying', 'succeeded', 'failed', 'unknown')),
  token text not null,                   -- who holds the claim
  lease_until timestamptz not null,
  attempts integer not null default 1,   -- claims of this call, takeovers included
  failures integer not null default 0,   -- attempts that ran and failed
  key_scope text,                        -- '' for the tenant, else the run
  key_hash text,                         -- null: the key is free
  key_expires_at timestamptz,
  on_duplicate text,
  settles_within_ms bigint not null,
  breaker text,
  probe boolean not null default false,
  reserved jsonb not null,
  approval text,
  result jsonb,                          -- what the caller gets: { kind, output | error, ... }
  resolved jsonb,                        -- how an unknown outcome became known
  claimed_at timestamptz not null,       -- the first claim
  last_claim_at timestamptz not null,    -- the last possible first send of the latest attempt
  finished_at timestamptz,
  primary key (run, call)
);
create unique index calls_effect_key on actguard.calls (tenant, tool, key_scope, key_hash) where key_hash is not null;
create index calls_open on actguard.calls (lease_until) where state in ('claimed', 'retrying');
create index calls_unknown on actguard.calls (tenant, finished_at) where state = 'unknown';

create table actguard.rate_slots (
  bucket text primary key,
  hits timestamptz[] not null            -- newest last; never longer than the limit
);

create table actguard.breakers (
  breaker text primary key,
  fails integer not null default 0,
  opened_at timestamptz,
  probe_token text,
  probe_until timestamptz
);

-- ---------------------------------------------------------------- least privilege
do $$ begin
  if not exists (select from pg_roles where rolname = 'actguard_worker') then create role actguard_worker nologin; end if;
exception when duplicate_object or unique_violation then null;
end $$;
do $$ begin
  -- workers and readers connect as whoever they are and act as this role
  if not pg_has_role(current_user, 'actguard_worker', 'set') then execute format('grant actguard_worker to %I', current_user); end if;
end $$;
revoke all on all tables in schema actguard from public;
grant usage on schema actguard to actguard_worker;
alter default privileges in schema actguard revoke execute on functions from public;
alter default privileges in schema actguard grant execute on functions to actguard_worker;
