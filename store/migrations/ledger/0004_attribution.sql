-- Attribution: which campaign brought each install. Written by the exporter alone, which follows the log for it.

-- How far each app's events are read. What they told is written in the transaction that moves seq.
create table attribution_cursors (
  app_key      text primary key,
  seq          integer not null,
  newest_seq   integer not null default 0,                    -- the newest event of the app that was seen
  due_at       integer not null default 0,                    -- epoch ms: when something closes or is too old; 0: never
  ordinal      integer not null default 0,                    -- the last that a decision got
  lease_owner  text not null default '',                      -- the run that works on it; taken by compare-and-set
  lease_until  integer not null default 0                     -- epoch ms; a lease runs out by itself
) strict, without rowid;

-- Somebody met a campaign. Removed when older than the longest window.
create table touchpoints (
  app_key      text not null,
  seq          integer not null,                              -- of the event that told of it …
  part         integer not null,                              -- … and which of those that it tells of
  partner_key  text not null,                                 -- whose the app was then
  message_id   blob not null,
  received_at  integer not null,
  touched_at   integer not null,                              -- epoch ms
  timed        integer not null check (timed in (0, 1)),      -- 0: nobody said when it was
  way          text not null check (way in ('click', 'view')),
  origin       text not null check (origin in ('apple', 'play', 'partner', 'listing')),
  campaign     text not null,                                 -- JSON
  identities   text not null,                                 -- JSON: pairs of a kind and a hash
  primary key (app_key, seq, part)
) strict, without rowid;

-- Whose touchpoints: an install looks for those of its identities.
create table touchpoint_identities (
  app_key      text not null,
  identity     blob not null,                                 -- the hash
  touched_at   integer not null,
  seq          integer not null,
  part         integer not null,
  primary key (app_key, identity, touched_at, seq, part)
) strict, without rowid;

-- One row per event that tells of an install, with what is decided of it now.
--   attributed, organic   it is a conversion: a campaign's, or nobody's
--   reinstall             a conversion of somebody who has the app already, or had it: no campaign's
--   told_again            no conversion of its own: marketplace and partner told of the same install
create table conversions (
  app_key       text not null,
  seq           integer not null,
  partner_key   text not null,
  message_id    blob not null,
  told_by       text not null check (told_by in ('marketplace', 'partner')),
  converted_at  integer not null,                             -- epoch ms
  received_at   integer not null,
  open_until    integer not null,                             -- epoch ms of reception: later evidence changes nothing
  open          integer not null check (open in (0, 1)),
  identities    text not null,                                -- JSON: pairs of a kind and a hash
  version       integer not null,                             -- of its decision; 1 for the first
  outcome       text not null check (outcome in ('attributed', 'organic', 'reinstall', 'told_again')),
  reason        text not null,
  campaign_key  text not null,                                -- '' when no campaign won
  decided_at    integer not null,
  primary key (app_key, seq)
) strict, without rowid;

create index conversions_time on conversions (app_key, converted_at, seq);

create index conversions_outcome on conversions (app_key, outcome, converted_at, seq);

create index conversions_campaign on conversions (app_key, campaign_key, converted_at, seq);

create index conversions_open on conversions (app_key, open_until) where open = 1;

-- Who installed, for ever: a second install of somebody is found by it, and late evidence finds its install.
create table conversion_identities (
  app_key   text not null,
  identity  blob not null,
  seq       integer not null,
  primary key (app_key, identity, seq)
) strict, without rowid;

-- Every decision that was made of an install, the newest of them being what holds.
create table decisions (
  app_key     text not null,
  ordinal     integer not null,                               -- grows with every decision of an app
  seq         integer not null,                               -- of the conversion
  version     integer not null,
  decided_at  integer not null,
  cause       text not null check (cause in ('install', 'evidence', 'closing')),
  cause_seq   integer not null,                               -- the event that made it necessary; 0: the time did
  document    text not null,                                  -- JSON: see attribution/decision.py
  primary key (app_key, ordinal)
) strict, without rowid;

create unique index decisions_conversion on decisions (app_key, seq, version);

-- How many there are of each outcome, by the UTC day of the install.
create table attribution_days (
  app_key      text not null,
  partner_key  text not null,
  day          integer not null,                              -- days since the epoch
  outcome      text not null check (outcome in ('attributed', 'organic', 'reinstall', 'told_again')),
  n            integer not null,
  primary key (app_key, partner_key, day, outcome)
) strict, without rowid;

-- What each model gives to each campaign of a day's attributed and organic installs; '' is organic.
create table attribution_sums (
  app_key       text not null,
  partner_key   text not null,
  model         text not null,
  day           integer not null,
  campaign_key  text not null,
  credit        integer not null,                             -- millionths of an install
  primary key (app_key, partner_key, model, day, campaign_key)
) strict, without rowid;

-- What was earned after an install, by the UTC day on which it was.
create table conversion_revenue (
  app_key   text not null,
  seq       integer not null,                                 -- of the conversion
  day       integer not null,
  currency  text not null,                                    -- ISO 4217
  amount    integer not null,                                 -- minor units
  n         integer not null,                                 -- events
  primary key (app_key, seq, day, currency)
) strict, without rowid;

-- The same as each model shares it; '' is organic.
create table attribution_revenue (
  app_key       text not null,
  partner_key   text not null,
  model         text not null,
  day           integer not null,
  campaign_key  text not null,
  currency      text not null,
  amount        integer not null,                             -- minor units
  primary key (app_key, partner_key, model, day, campaign_key, currency)
) strict, without rowid;

-- Events that could not be read, so that the others go on.
create table attribution_parked (
  app_key    text not null,
  seq        integer not null,
  reason     text not null,
  parked_at  integer not null,
  primary key (app_key, seq)
) strict, without rowid;
