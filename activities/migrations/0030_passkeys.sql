-- Passkeys beside key files, and the counts that their authenticators keep.
alter table actguard.keys add column kind text not null default 'ed25519' check (kind in ('ed25519', 'webauthn'));
alter table actguard.keys add column credential text;      -- of a passkey: its credential id, base64
create unique index keys_credential on actguard.keys (tenant, credential) where credential is not null;

-- Sign counts that were seen, of authenticators that keep one: a copy of the key betrays itself by a count that came
-- before, or that does not grow with time.
create table actguard.sign_counts (
  tenant text not null,
  key_id text not null,
  count bigint not null check (count > 0),
  signed_at timestamptz not null,
  what text not null,                    -- the delivery that brought it: its retries are the same signature
  primary key (tenant, key_id, count)
);
revoke all on all tables in schema actguard from public;
