-- A freeze may abort the calls that are in flight: each sees it when it renews its claim.
alter table actguard.calls add column abort_at timestamptz; -- later than last_claim_at: this attempt is to stop
drop function if exists actguard.renew_claim(text, text, text, bigint); -- answers a word now
drop function if exists actguard.set_freeze(jsonb);                     -- answers whether it was set
revoke all on all tables in schema actguard from public;
