-- Asks of the last hour are counted whenever one is opened.
create index approvals_recent on actguard.approvals (tenant, opened_at);
