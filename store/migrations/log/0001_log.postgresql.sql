-- The event log on PostgreSQL: as for SQLite, but for what any number of collectors needs.

-- Taken within the transaction that stores the events, so that its order is not commit order: see store/postgres/settled.py.
create sequence events_seq;

-- Partitioned by seq, which grows with time, so that what is old is dropped as a whole. An app's key is in every unique
-- key, so that the tables can be distributed by it.
create table events (
  seq                   bigint not null,
  app_key               text not null,
  message_id            bytea not null check (length(message_id) = 16),
  type                  text not null,
  name                  text not null,
  source                text not null check (source in ('browser', 'server')),
  occurred_at           bigint not null,
  received_at           bigint not null,
  partner_key           text not null,
  anonymous_id          text not null,
  user_id               text,
  partner_anonymous_id  text,
  suppressed            text,
  details               text not null,
  primary key (app_key, seq)                                  -- the exporter's read of one app's run
) partition by range (seq);

-- What is newest of every app (store/log.py: heads), and where a moment lies (seq_before), from the index alone.
create index events_newest on events (seq) include (app_key, received_at);

-- Takes what lies past the last partition: `footfall purge` makes them beforehand.
create table events_rest partition of events default;

-- De-duplication at the door: a unique key of the partitioned table would hold its seq.
create table message_ids (
  app_key     text not null,
  message_id  bytea not null,
  seq         bigint not null,
  primary key (app_key, message_id)
);

create table visitors (
  app_key               text not null,
  anonymous_id          text not null,
  user_id               text,
  partner_anonymous_id  text,
  suppressed            text,
  seen_at               bigint not null,
  primary key (app_key, anonymous_id)
);

create index visitors_user on visitors (app_key, user_id, seen_at) where user_id is not null;

create sequence rejections_id;

create table rejections (
  rejection_id  bigint not null default nextval('rejections_id'),
  app_key       text not null,
  door          text not null,
  received_at   bigint not null,
  reason        text not null,
  detail        text not null,
  body          bytea not null,
  primary key (app_key, rejection_id)
);

-- What is old enough to go: rows lie in the order of their time.
create index rejections_received on rejections using brin (received_at);

-- Each writing connection counts in a slot of its own, so that none waits for another's commit.
create table door_tallies (
  app_key  text not null,
  door     text not null,
  hour     bigint not null,
  outcome  text not null check (outcome in ('received', 'stored', 'duplicate', 'rejected', 'shed')),
  reason   text not null,
  slot     bigint not null,
  n        bigint not null,
  primary key (app_key, door, hour, outcome, reason, slot)
);
