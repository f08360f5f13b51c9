-- Mails and whether they were taken: an outage of the mail server delays nothing, and is seen (`actguard doctor`).
create table actguard.mails (
  message_id text primary key,
  run text not null,
  what text not null,
  attempts integer not null default 1,
  error text,                            -- of the last attempt; null: taken
  first_at timestamptz not null default clock_timestamp(),
  last_at timestamptz not null default clock_timestamp()
);
create index mails_undelivered on actguard.mails (last_at) where error is not null;
revoke all on all tables in schema actguard from public;
