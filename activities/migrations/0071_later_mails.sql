-- Mails that the janitor sends: reminders of asks that wait, and what came of those that ended.
create index approvals_ended on actguard.approvals (ended_at) where state <> 'open';
