-- Model calls and the transcripts they make. One start, one outcome; a row per turn that names its parent's digest.
-- Messages and results are kept as text: their bytes count (digests), and jsonb cannot hold U+0000.
create table actguard.model_calls (
  run text not null references actguard.runs (run),
  call text not null,
  seq integer not null,
  turn integer not null,
  attempt integer not null default 1,    -- attempts that asked to start; only the first one is ever sent
  state text not null default 'started' check (state in ('started', 'succeeded', 'failed', 'lost')),
  model text not null,
  reserved jsonb not null,
  usage jsonb,
  result text,                           -- what the caller gets, for ever
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  primary key (run, call)
);
create index model_calls_open on actguard.model_calls (started_at) where state = 'started';

create table actguard.transcripts (
  run text not null references actguard.runs (run),
  turn integer not null,
  messages text not null,                -- canonical JSON: what joined before the model was asked, and its answer
  digest text not null,                  -- SHA-256 over { v, run, turn, parent, messages }; this table is deletable
  parent text,                           -- digest of the turn before; null for the first
  bytes integer not null,
  call text not null,                    -- the model call that made it
  inserted_at timestamptz not null default clock_timestamp(),
  primary key (run, turn)
);

revoke all on actguard.model_calls, actguard.transcripts from public;
