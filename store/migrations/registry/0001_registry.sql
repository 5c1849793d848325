-- The registry: who and what there is. Written seldom, by the command line and the portal.
-- Portable subset: text, integer (epoch milliseconds), blob; no engine's own types.

create table partners (
  partner_key text primary key,
  partner_id  text not null unique check (partner_id <> ''),  -- digits on the wire, always text
  name        text not null,
  created_at  integer not null
) strict;

create table apps (
  app_key     text primary key,                               -- pluginKey on the wire
  partner_key text not null references partners (partner_key),
  plugin_id   text not null unique check (plugin_id <> ''),
  name        text not null,
  guid        text not null unique,                           -- how server-to-server callers name the app
  ingest_key  text not null unique,                           -- the key that we issue to the app
  created_at  integer not null
) strict;

-- A destination keeps its id when the write key of the same source is replaced, and gets a new one with a new source,
-- region or address: the ids under which events leave are made from it (see store/ids.py).
-- active 1 -> 0 when replaced or removed; rows are kept, because the ledger names them.
create table destinations (
  app_key                text not null references apps (app_key),
  destination_id         text not null,                       -- UUID
  name                   text not null,                       -- tells an app's destinations apart; the first is main
  region                 text not null check (region in ('us', 'eu')),
  url                    text not null,                       -- '' is Segment itself; else the base of a compatible API
  profile                text not null check (profile in ('mpac', 'segment')),
  uninstalls             integer not null default 0 check (uninstalls in (0, 1)),
  segment_write_key      blob not null,                       -- encrypted under the secret key
  write_key_last4        text not null,
  write_key_fingerprint  text not null,                       -- tells one key on two apps without showing it
  start_seq              integer not null,                    -- earlier events are not owed to this destination
  active                 integer not null check (active in (0, 1)),
  verified_at            integer,                             -- when the partner proved key and region; null: never
  code_hash              text not null default '',            -- of the code in the test event that awaits an answer
  code_sent_at           integer not null default 0,
  code_wrong             integer not null default 0,          -- answers to it that were wrong (store/proof.py)
  created_at             integer not null,
  updated_at             integer not null,
  primary key (app_key, destination_id)
) strict;

-- At most one destination of a name takes an app's live events.
create unique index destinations_active on destinations (app_key, name) where active = 1;

-- A window of an app's events for one of its destinations once more. It has a cursor of its own in the ledger, under
-- its own id. Its events leave under the destination's ids, or under ids made from the replay's.
create table replays (
  app_key         text not null references apps (app_key),
  replay_id       text not null,                              -- UUIDv7: time-ordered
  destination_id  text not null,
  first_seq       integer not null,                           -- events past it …
  last_seq        integer not null check (last_seq >= first_seq),  -- … up to it
  new_ids         integer not null check (new_ids in (0, 1)),
  cancelled       integer not null default 0 check (cancelled in (0, 1)),
  created_at      integer not null,
  primary key (app_key, replay_id)
) strict;

-- What somebody asks of the exporter, which writes the ledger alone: it carries them out in order, once each.
create table intents (
  intent_id       text primary key,                           -- UUIDv7: time-ordered
  app_key         text not null references apps (app_key),
  destination_id  text not null,                              -- or a replay's id
  action          text not null check (action in ('release', 'drop', 'resume')),
  seq             integer not null,                           -- of the parked event; 0 for resume
  created_at      integer not null
) strict;

create table tokens (
  token_id   text primary key,
  name       text not null unique,
  token_hash text not null unique,                            -- SHA-256; the token itself is shown once
  scopes     text not null,                                   -- space-separated
  created_at integer not null
) strict;

-- Who changed what, without secrets.
create table audit (
  audit_id   text primary key,                                -- UUIDv7: time-ordered
  at         integer not null,
  actor      text not null,
  action     text not null,
  subject    text not null,
  detail     text not null
) strict;
