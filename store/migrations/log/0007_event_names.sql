-- The names of the events that a partner's own systems sent, and the properties that came with each: kept with the rollups,
-- in the transaction that counts (store/rollups/event_names.py).
create table event_names (
  app_key      text not null,
  partner_key  text not null,
  name         text not null,                                 -- cut; '…': of all that are too many to be kept apart
  events       integer not null,
  first_at     integer not null,                              -- epoch ms of the earliest by when it happened …
  last_at      integer not null,                              -- … and of the latest
  first_seq    integer not null,                              -- that made the name known
  sample_seq   integer not null,                              -- the newest event, to look at
  more         integer not null,                              -- how often properties came that are not kept apart
  primary key (app_key, partner_key, name)
) strict, without rowid;

-- For a collector, which names are new.
create index event_names_first on event_names (first_seq);

create table event_properties (
  app_key      text not null,
  partner_key  text not null,
  name         text not null,
  property     text not null,
  kind         text not null,                                 -- a type of JSON, of a text also its form; never a value
  events       integer not null,                              -- that had the property, of this kind
  primary key (app_key, partner_key, name, property, kind)
) strict, without rowid;

-- Names that were deleted: no event up to this seq counts for one. A rebuild leaves it as it is.
create table event_names_deleted (
  app_key      text not null,
  name         text not null,
  seq          integer not null,
  primary key (app_key, name)
) strict, without rowid;

-- The last of the registry's deletions that was carried out.
alter table rollups add column deletion_id integer not null default 0;
