-- A run finds what has a backlog without looking at what has none: see exporter/finding.py.

-- The newest event of the app that was seen, so that seq below it says that something may wait.
alter table cursors add column newest_seq integer not null default 0;

create index cursors_behind on cursors (app_key, destination_id) where newest_seq > seq;

-- How far the runs have looked: 'log' holds a seq, 'registry' its version.
create table seen (
  name   text primary key,
  value  text not null
) strict, without rowid;

-- What a run that lost a course has left open there.
create index batches_left_open on batches (app_key, destination_id) where outcome = 'open';
