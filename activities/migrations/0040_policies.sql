-- Policy sets by their digest, and which of them decides where. A row here activates nothing by itself: a worker follows
-- every activation's signatures to a root, and the texts of a set to its digest, before it decides by them.
create table actguard.policy_sets (
  digest text primary key,
  files jsonb not null check (length(files::text) <= 33554432), -- [{ name, text }]: at most 100 files of 256 KB
  source text not null check (source in ('push', 'worker')),    -- worker: the files next to its configuration
  pushed_by text not null,
  pushed_at timestamptz not null default clock_timestamp()
);

create table actguard.policy_activations (
  id bigint generated always as identity primary key,
  tenant text not null,                  -- '*': every tenant that has none of its own
  role text not null check (role in ('enforced', 'shadow')),
  digest text references actguard.policy_sets (digest), -- null: none of its own any more
  replaced text,
  people text[] not null,                -- who signed: nobody approves under a policy they activated
  evidence jsonb not null,               -- [{ keyId, envelope, key, atMs }]: what a worker verifies
  reason text not null,
  activated_at timestamptz not null default clock_timestamp()
);
create index policy_activations_scope on actguard.policy_activations (tenant, role, id);

create table actguard.active_policies (
  tenant text not null,
  role text not null,
  digest text,
  activation bigint not null references actguard.policy_activations (id),
  primary key (tenant, role)
);

create table actguard.policy_proposals ( -- an activation that loosens and waits for a second person
  tenant text not null,
  digest text not null,                  -- '' stands for none
  replaced text not null,                -- '' stands for none
  person text not null,
  key_tenant text not null,
  key_id text not null,
  roles text[] not null,
  root boolean not null,
  evidence jsonb not null,
  proposed_at timestamptz not null default clock_timestamp(),
  primary key (tenant, digest, replaced, person)
);
revoke all on all tables in schema actguard from public;
