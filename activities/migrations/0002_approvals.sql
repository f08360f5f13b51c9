-- People and their keys, asks and their answers, used commands. Rows here approve nothing by themselves: a worker
-- follows every key to a root and verifies every signature again when an approval is used. What SQL checks can only
-- take away: revoked keys, lost roles, expiry, single use.
create table actguard.people (
  tenant text not null,                  -- '*': every tenant, dev keys only
  person text not null,
  roles text[] not null,                 -- held now; a role taken out here counts no more, one put in counts for nothing
  dev boolean not null,
  enrolled_at timestamptz not null default clock_timestamp(),
  primary key (tenant, person)
);

create table actguard.keys (
  key_id text not null,                  -- SHA-256 of the raw public key, hex
  tenant text not null,
  person text not null,
  roles text[] not null,                 -- copied from the enrolment
  envelope jsonb not null,               -- the enrolment (DSSE)
  chain jsonb not null,                  -- the signers' enrolments, nearest first
  valid_from timestamptz not null,
  valid_until timestamptz,
  dev boolean not null,
  enrolled_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz,
  primary key (tenant, key_id),
  foreign key (tenant, person) references actguard.people (tenant, person)
);
create index keys_person on actguard.keys (tenant, person);

create table actguard.approvals (
  approval text primary key,
  tenant text not null,
  run text not null references actguard.runs (run),
  call text not null,
  ask integer not null,                  -- 1, 2 … of its call
  nonce text not null unique,
  state text not null default 'open' check (state in ('open', 'granted', 'rejected', 'expired', 'withdrawn', 'consumed')),
  request bytea not null,                -- canonical JSON (RFC 8785), the bytes that are signed for
  content jsonb,                         -- erasable: arguments, shown text, facts, their salt
  gates jsonb not null,                  -- [{ id, sha256, roles, quorum }], copied from the request
  title text not null,
  opened_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  invalid_answers integer not null default 0,
  consumed_by_effect text,
  consumed_at timestamptz,
  unique (run, call, ask)
);
create unique index approvals_one_open on actguard.approvals (run, call) where state = 'open';
create index approvals_open on actguard.approvals (opened_at) where state = 'open';

create table actguard.answers (
  approval text not null references actguard.approvals (approval),
  person text not null,
  tenant text not null,                  -- of the key's row
  key_id text not null,
  decision text not null check (decision in ('approve', 'reject')),
  roles text[] not null,                 -- as signed in the enrolment, at the answer
  envelope jsonb not null,
  delivery text not null,                -- the activity that brought it: its retries are the same answer
  completed boolean not null,            -- whether this answer ended the ask
  answered_at timestamptz not null default clock_timestamp(),
  primary key (approval, person),
  foreign key (tenant, key_id) references actguard.keys (tenant, key_id)
);

create table actguard.command_nonces (
  tenant text not null,
  nonce text not null,
  target text not null,
  person text not null,
  key_id text not null,
  envelope jsonb not null,
  delivery text not null,
  used_at timestamptz not null default clock_timestamp(),
  primary key (tenant, nonce)
);

-- ---------------------------------------------------------------- least privilege
revoke all on all tables in schema actguard from public;
