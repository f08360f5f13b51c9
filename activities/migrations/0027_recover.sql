-- Restored databases: a run names the last of its calls that it saw recorded; where that is missing, a person decides.
alter table actguard.runs
  add column missing_call text,   -- a claim found that this call, which the run knows, is not here
  add column accepted_gap text;   -- a signed `recover` accepted that it is missing

revoke all on all tables in schema actguard from public;
