-- The event log: append-only, written by the collector alone. Nothing in it is ever updated.
-- Every unique key holds the app, so that the tables can be distributed by it.

create table events (
  seq                   integer primary key autoincrement,    -- never used twice; its order is commit order
  app_key               text not null,
  message_id            blob not null check (length(message_id) = 16),
  type                  text not null,                        -- Segment's type of message: track
  name                  text not null,                        -- page_view, tab_click, cta_click, app_request, install, uninstall
  source                text not null check (source in ('browser', 'server')),
  occurred_at           integer not null,                     -- epoch ms, the sender's clock corrected by its sent-at
  received_at           integer not null,                     -- epoch ms, ours
  partner_key           text not null,                        -- whose app it was then: nobody else may get it
  anonymous_id          text not null,
  user_id               text,
  partner_anonymous_id  text,
  suppressed            text,                                 -- null, or why no partner may get it: consent, gpc, bot
  details               text not null                         -- JSON, see store.event.Details
) strict;

-- De-duplication at the door.
create unique index events_message on events (app_key, message_id);

-- The exporter's read of one app's run (the rowid, which is seq, rides along in the index).
create index events_app on events (app_key);

-- What the back end does not know of a visitor and the listing does: written with page views, read for installs.
create table visitors (
  app_key               text not null,
  anonymous_id          text not null,
  user_id               text,
  partner_anonymous_id  text,
  suppressed            text,                                 -- the last word on sharing: gpc, consent, '' (agreed); an install inherits it
  seen_at               integer not null,
  primary key (app_key, anonymous_id)
) strict, without rowid;

-- An install that names only the account finds the visitor.
create index visitors_user on visitors (app_key, user_id, seen_at) where user_id is not null;

-- Messages refused at a door, as they came (capped; ids of accounts taken out), with the reason.
create table rejections (
  rejection_id  integer primary key autoincrement,
  app_key       text not null,                                -- '' when the app is unknown
  door          text not null,
  received_at   integer not null,
  reason        text not null,
  detail        text not null,
  body          blob not null
) strict;

create index rejections_app on rejections (app_key, rejection_id);

-- The balance at the doors: received = stored + duplicate + rejected + shed, each counted on its own,
-- in the transaction that stores the events it speaks of.
create table door_tallies (
  app_key  text not null,
  door     text not null,
  hour     integer not null,                                  -- epoch hours of received_at
  outcome  text not null check (outcome in ('received', 'stored', 'duplicate', 'rejected', 'shed')),
  reason   text not null,                                     -- '' but for rejected
  n        integer not null,
  primary key (app_key, door, hour, outcome, reason)
) strict, without rowid;
