-- Reads of the ledger came with functions only: functions/entries.sql.
select 1;
