-- The ledger: what each destination was sent and what became of it. Written by the exporter alone.

-- One cursor per course: an app's live events for one destination, or a replay for it (destination_id is then the
-- replay's id, in every table here). Everything at or below seq has a recorded fate there. Moves forward only, in the
-- transaction that records the fate; only the run that holds the lease writes it.
create table cursors (
  app_key           text not null,
  destination_id    text not null,
  start_seq         integer not null,                         -- events at or below it are not owed
  seq               integer not null check (seq >= start_seq),
  lease_owner       text not null default '',                 -- the run that works on it; taken by compare-and-set
  lease_until       integer not null default 0,               -- epoch ms; a lease runs out by itself
  not_before        integer not null default 0,               -- epoch ms: asked to be left alone (Retry-After), or paused
  tripped           text not null default '',                 -- '' or why the breaker is open: one event is sent first
  trips             integer not null default 0,               -- how often in a row it opened
  failures          integer not null default 0,               -- attempts that failed in a row
  recent            text not null default '',                 -- the last attempts, the newest last: + or -
  ambiguous_since   integer not null default 0,               -- epoch ms: the first attempt whose answer was lost …
  ambiguous_seq     integer not null default 0,               -- … and how far it reached
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
  latency_ms      integer,                                    -- from the first byte sent to the end of the answer
  first_id        text not null default '',                   -- message ids as sent: the first, the last …
  last_id         text not null default '',
  digest          text not null default '',                   -- … and a hash over all, of accepted ones
  receipt_id      text not null default '',                   -- '' until a receipt covers it
  possible_duplicate integer not null default 0,              -- 1: sent again when Segment may have forgotten the first
  parked          integer not null default 0,                 -- 1: parked events that were released, not the cursor's run
  outcome         text not null check (outcome in ('open', 'accepted', 'refused', 'deferred', 'ambiguous')),
  status          integer,                                    -- HTTP status, when there was an answer
  detail          text not null default '',                   -- excerpt of the answer, or the error's class
  primary key (app_key, batch_id)
) strict, without rowid;

-- The partner's history of deliveries, newest first.
create index batches_destination on batches (app_key, destination_id, opened_at);

-- A run that begins closes what a dead run left open.
create index batches_open on batches (outcome) where outcome = 'open';

-- What the next receipts are for.
create index batches_unreceipted on batches (app_key, destination_id) where outcome = 'accepted' and receipt_id = '';

-- Single events set aside for one destination, so that the cursor can pass them.
create table parked (
  app_key         text not null,
  destination_id  text not null,
  seq             integer not null,
  message_id      text not null,                              -- as sent to the destination
  reason          text not null,
  detail          text not null,
  hour            integer not null,                           -- epoch hours of the event's received_at
  parked_at       integer not null,
  released        integer not null default 0 check (released in (0, 1)),  -- 1: goes out with the next run
  primary key (app_key, destination_id, seq)
) strict, without rowid;

-- The fates below the cursor, counted when the cursor passes:
-- collected = accepted + suppressed + parked + expired + pending.
create table tallies (
  app_key         text not null,
  destination_id  text not null,
  hour            integer not null,                           -- epoch hours of the events' received_at
  fate            text not null check (fate in ('accepted', 'suppressed', 'parked', 'expired')),
  reason          text not null,                              -- '' for accepted
  n               integer not null,
  primary key (app_key, destination_id, hour, fate, reason)
) strict, without rowid;

-- What was asked of the exporter (the registry's intents) and is done.
create table intents_done (
  intent_id  text primary key,
  done_at    integer not null,
  outcome    text not null
) strict, without rowid;

-- What a partner can keep of a run: counts, first and last id, and a hash over its batches, signed and chained.
create table receipts (
  app_key         text not null,
  destination_id  text not null,
  receipt_id      text not null,                              -- UUIDv7: time-ordered
  run_id          text not null,
  made_at         integer not null,
  document        text not null,                              -- JSON, exactly as signed
  signature       text not null,                              -- Ed25519, base64
  primary key (app_key, destination_id, receipt_id)
) strict, without rowid;
