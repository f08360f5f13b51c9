-- Runs that have ended are compared once with the workflow's history, as long as Temporal keeps it (run.reconciled).
alter table actguard.runs add column reconciled_at timestamptz;
create index runs_unreconciled on actguard.runs (closed_at) where reconciled_at is null and closed_at is not null;

-- The audit's view of calls has another shape.
drop function if exists actguard.ledger_calls(text, text, int);
