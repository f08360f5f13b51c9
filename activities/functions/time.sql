-- Milliseconds and timestamps.

-- In UTC, whose epoch does not depend on a setting: what is immutable in truth is inlined.
create or replace function actguard.ms(p timestamptz) returns bigint language sql immutable as $$
  select floor(extract(epoch from (p at time zone 'UTC')) * 1000)::bigint
$$;

create or replace function actguard.ms_interval(p bigint) returns interval language sql immutable as $$
  select make_interval(secs => p / 1000.0)
$$;
