-- The approval page: sign-ins, and invitations that make a pending passkey. Nothing here approves anything.
create table actguard.page_sessions (
  token_sha256 text primary key,         -- hex; the token itself is the browser's only
  nonce text not null unique,            -- of the sign-in: used once
  tenant text not null,
  person text not null,
  key_id text not null,
  opened_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  foreign key (tenant, key_id) references actguard.keys (tenant, key_id)
);
create index page_sessions_expiry on actguard.page_sessions (expires_at);

create table actguard.invitations (
  invitation text primary key,           -- ULID
  token_sha256 text not null unique,     -- hex; the token itself is mailed and stored nowhere
  tenant text not null,
  person text not null,
  roles text[] not null,
  mail text,                             -- where the link was sent; null: handed over by hand
  signer text not null,                  -- the administrator's public key, base64: countersigns what the page makes
  dev boolean not null,
  state text not null default 'open' check (state in ('open', 'pending', 'confirmed', 'revoked')),
  pending jsonb,                         -- the enrolment, signed by the new passkey only
  key_id text,                           -- fingerprint of the pending passkey
  invited_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);
create index invitations_tenant on actguard.invitations (tenant, invited_at);
revoke all on all tables in schema actguard from public;
