-- Freezes beyond a run came with functions only: functions/freezes.sql.
select 1;
