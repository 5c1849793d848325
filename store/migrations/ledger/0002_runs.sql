-- One row per run of the exporter that might send: whether it runs at all, and how long it takes.
create table runs (
  run_id    text primary key,                                 -- UUIDv7: time-ordered
  began_at  integer not null,
  ended_at  integer,                                          -- null while it runs, and for good when it died
  deferred  integer not null default 0                        -- courses that it left something of
) strict, without rowid;

-- Old attempts are removed at a run's end.
create index batches_closed on batches (closed_at);
