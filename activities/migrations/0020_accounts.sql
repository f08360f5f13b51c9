-- Accounts of users, tenants, agents and labels: their limits (a copy of what budgetAccount workflows decide, or the
-- configured default) and what they have spent and reserved in each window. A call's row is its reservation.
create table actguard.accounts (
  id text primary key,                   -- JSON of [tenant, scope, value]
  tenant text not null,
  scope text not null check (scope in ('label', 'user', 'agent', 'tenant')),
  value text not null,
  limits bigint[] not null check (array_length(limits, 1) = 3), -- micro-dollars, tokens, calls; null: no limit
  window_kind text not null check (window_kind in ('total', 'day', 'week', 'month')),
  zone text not null,                    -- an IANA name; this database's tz data does the arithmetic
  frozen jsonb,                          -- { by, reason }: nothing may be reserved
  version integer not null default 0,    -- 0: the configured default stands, nobody commanded anything yet
  nonce text,                            -- of the command that made this version
  unique (tenant, scope, value)
);
create table actguard.account_windows (
  account text not null references actguard.accounts (id) on delete cascade,
  key text not null,                     -- 'total', 'day:2026-11-24@Europe/Berlin'
  starts_at timestamptz not null,
  ends_at timestamptz,                   -- null: never
  extra bigint[] not null default '{0,0,0}',    -- top-ups of this window
  spent bigint[] not null default '{0,0,0}',
  reserved bigint[] not null default '{0,0,0}',
  reported integer not null default 0,   -- the highest share of a limit that was recorded: 0, 50, 80, 100 per cent
  primary key (account, key),
  check (0 <= all (spent)), check (0 <= all (reserved)), check (0 <= all (extra))
) with (fillfactor = 50);                -- rows change with every priced call and stay in their page

-- Runs that wait for an account: whoever changes it tells them.
create table actguard.account_waits (
  account text not null,
  run text not null,
  workflow_id text not null,
  primary key (account, run)
);

-- Null for runs and calls that no account concerns: they cost nothing more.
alter table actguard.runs add column accounts text[];
create index runs_user on actguard.runs (tenant, user_id);
alter table actguard.calls
  add column accounts jsonb,             -- [[account, window], ...] that hold this call's reservation
  add column charged jsonb,              -- what they were charged; null: `reserved` is still held
  add column label text;
alter table actguard.model_calls
  add column accounts jsonb, add column charged jsonb, add column label text,
  add column spent jsonb;                -- what it cost the run, once that is known

-- Every call that was claimed or started, and what it cost: settled, charged at worst case, or still reserved.
create view actguard.expenses as
  select c.run, c.call, r.tenant, r.user_id, r.agent, c.tool, null::text as model, c.label, c.claimed_at as at,
    coalesce((c.charged->>'usdMicros')::bigint, (c.result->>'spentMicros')::bigint, 0) as usd_micros,
    0::bigint as tokens,
    case when c.state in ('claimed', 'retrying') and c.charged is null then coalesce((c.reserved->>'usdMicros')::bigint, 0) else 0 end as reserved_micros
  from actguard.calls c join actguard.runs r on r.run = c.run
  union all
  select m.run, m.call, r.tenant, r.user_id, r.agent, null, m.model, m.label, m.started_at,
    coalesce((coalesce(m.spent, m.charged)->>'usdMicros')::bigint, 0), coalesce((coalesce(m.spent, m.charged)->>'tokens')::bigint, 0),
    case when m.state = 'started' and m.charged is null then coalesce((m.reserved->>'usdMicros')::bigint, 0) else 0 end
  from actguard.model_calls m join actguard.runs r on r.run = m.run;

-- A model or a tool that cost more than its worst case is frozen until a person has looked.
alter table actguard.freezes drop constraint freezes_scope_check;
alter table actguard.freezes add constraint freezes_scope_check
  check (scope in ('run', 'tool', 'agent', 'user', 'tenant', 'model', 'all'));

revoke all on all tables in schema actguard from public;
