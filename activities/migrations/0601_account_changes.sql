-- Who changed an account last, and why: shown beside its numbers. The ledger has every change.
alter table actguard.accounts add column changed jsonb; -- { verb, by, reason, atMs }; null: the configured default stands
