-- The janitor: when each open run was last compared with Temporal.
alter table actguard.runs add column checked_at timestamptz;
create index runs_unchecked on actguard.runs (checked_at nulls first) where status = 'open';

revoke all on all tables in schema actguard from public;
