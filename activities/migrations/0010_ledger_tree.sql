-- The sealed ledger (trust.md, Ledger): entries wait in ledger_pending, written in the transaction of their caller, until
-- the sealer moves them to leaves. Only members of actguard_sealer may call the functions that do.
create table actguard.ledger_pending (
  entry_id bigint primary key
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000); -- rows live for a second

create table actguard.ledger_leaves (
  idx bigint primary key check (idx >= 0),   -- place in the tree, gapless from 0
  entry_id bigint not null unique,
  hash bytea not null check (length(hash) = 32)
);

create table actguard.ledger_nodes (         -- perfect subtrees above the leaves: a proof reads a few of them
  level smallint not null check (level > 0),
  idx bigint not null,
  hash bytea not null check (length(hash) = 32),
  primary key (level, idx)
);

create table actguard.ledger_checkpoints (
  size bigint primary key check (size > 0),
  note text not null,                        -- the signed note; gains the lines of witnesses
  cosigned boolean not null default false,
  sealed_at timestamptz not null default clock_timestamp()
);

insert into actguard.ledger_pending (entry_id) select id from actguard.entries;

do $$ begin
  if not exists (select from pg_roles where rolname = 'actguard_sealer') then create role actguard_sealer nologin; end if;
exception when duplicate_object or unique_violation then null;
end $$;
do $$ begin
  if not pg_has_role(current_user, 'actguard_sealer', 'set') then execute format('grant actguard_sealer to %I', current_user); end if;
end $$;
grant usage on schema actguard to actguard_sealer;
revoke all on all tables in schema actguard from public;
