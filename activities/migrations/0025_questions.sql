-- What is known of attempts that may have landed, and the question that an unknown outcome opens.
alter table actguard.calls
  add column fate_open text[] not null default '{}', -- tokens of attempts that may have landed: nobody knows what became of them
  add column last_send_at timestamptz,               -- the last moment at which one of them could have sent
  add column sends boolean not null default true,    -- whether the claim in hand may send; false: it only asks the receiver
  add column late jsonb,                             -- a success that came after its claim was taken over, while another attempt was under way
  add column freed_key text,                         -- the key that a failure freed: held again should the effect show up after all
  add column question text,                          -- why nobody knows
  add column question_at timestamptz,
  add column asked integer not null default 0,       -- how often the receiver was asked, or sent to again
  add column ask_after timestamptz,                  -- asked again by itself after this; null: by nobody
  add column needs_person boolean not null default false,
  add column key_ttl_ms bigint;
create index calls_due on actguard.calls (ask_after) where state = 'unknown' and ask_after is not null;

-- Calls whose outcome was unknown before there were questions.
update actguard.calls set fate_open = array[token], last_send_at = greatest(last_claim_at, finished_at),
  question = 'the outcome is not known', question_at = coalesce(finished_at, last_claim_at), needs_person = true
  where state = 'unknown';

revoke all on all tables in schema actguard from public;
