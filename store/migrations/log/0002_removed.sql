-- What is no longer in the event log, and would be missing from its sums. No row reaches over a place where something of
-- the app began or ended for good (a cursor's start, a replay's end, the cursor of what takes nothing any more), so that
-- what was removed past a start, or up to an end, is a sum of whole rows. New rows lie past all earlier ones of their app.
create table removed (
  app_key    text not null,
  hour       integer not null,                                -- epoch hours of the events' received_at
  first_seq  integer not null,
  last_seq   integer not null check (last_seq >= first_seq),
  reason     text not null,                                   -- retention
  n          integer not null,
  primary key (app_key, hour, reason, first_seq)
) strict, without rowid;
