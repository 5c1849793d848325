-- The ledger: what each destination was sent and what became of it. Written by the exporter alone.

-- One cursor per (app, destination): everything at or below seq has a recorded fate there. Moves forward only, in the
-- transaction that records the fate.
create table cursors (
  app_key         text not null,
  destination_id  text not null,
  start_seq       integer not null,                           -- events at or below it are not owed
  seq             integer not null check (seq >= start_seq),
  lease_owner     text not null default '',                   -- the run that works on it; taken by compare-and-set
  lease_until     integer not null default 0,                 -- epoch ms; a lease runs out by itself
  not_before      integer not null default 0,                 -- epoch ms: the destination asked to be left alone (Retry-After)
  paused_reason   text not null default '',                   -- '' or why it is probed once a run instead of sent to
  primary key (app_key, destination_id)
) strict, without rowid;

-- One row is one attempt: one HTTP request over a contiguous run of an app's events.
--   open -> accepted    the destination answered success; the cursor moved in the same transaction
--   open -> refused     for good, because of what it holds: split, or its one event parked
--   open -> deferred    for now; nothing moved
--   open -> ambiguous   the answer was lost, or the exporter died: may have been accepted; sent again under the same ids
create table batches (
  app_key         text not null,
  batch_id        text not null,                              -- UUIDv7: time-ordered
  destination_id  text not null,
  run_id          text not null,
  attempt         integer not null,                           -- 1 for the first in this run
  first_seq       integer not null,
  last_seq        integer not null,
  events          integer not null,                           -- messages in the request
  bytes           integer not null,
  opened_at       integer not null,
  closed_at       integer,
  outcome         text not null check (outcome in ('open', 'accepted', 'refused', 'deferred', 'ambiguous')),
  status          integer,                                    -- HTTP status, when there was an answer
  detail          text not null default '',                   -- excerpt of the answer, or the error's class
  primary key (app_key, batch_id)
) strict, without rowid;

-- The partner's history of deliveries, newest first.
create index batches_destination on batches (app_key, destination_id, opened_at);

-- A run that begins closes what a dead run left open.
create index batches_open on batches (outcome) where outcome = 'open';

-- Single events set aside for one destination, so that the cursor can pass them.
create table parked (
  app_key         text not null,
  destination_id  text not null,
  seq             integer not null,
  message_id      text not null,                              -- as sent to the destination
  reason          text not null,
  detail          text not null,
  parked_at       integer not null,
  primary key (app_key, destination_id, seq)
) strict, without rowid;

-- The fates below the cursor, counted when the cursor passes: collected = accepted + suppressed + parked + pending.
create table tallies (
  app_key         text not null,
  destination_id  text not null,
  hour            integer not null,                           -- epoch hours of the events' received_at
  fate            text not null check (fate in ('accepted', 'suppressed', 'parked')),
  reason          text not null,                              -- '' for accepted
  n               integer not null,
  primary key (app_key, destination_id, hour, fate, reason)
) strict, without rowid;
