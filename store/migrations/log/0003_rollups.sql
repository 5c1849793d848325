-- The rollups: what the portal's numbers come from, so that no page counts events. They follow the log: what they say is
-- true of all events up to one seq, which is moved on in the transaction that counts.

create table rollups (
  one           integer primary key check (one = 1),
  seq           integer not null,                             -- every event up to it is counted, and none past it
  received_at   integer not null,                             -- of that event; 0 before the first
  rebuild_id    integer not null,                             -- the last of the registry's rebuilds that was begun
  taken_by      text not null,                                -- who counts, if several could
  taken_until   integer not null                              -- epoch ms: after that, anybody may
) strict;

insert into rollups (one, seq, received_at, rebuild_id, taken_by, taken_until) values (1, 0, 0, 0, '', 0);

-- A visitor as a small number, the same on all listings of one partner, so that a set of visitors is a bitmap.
create table rollup_visitors (
  partner_key   text not null,
  anonymous_id  text not null,
  visitor       integer not null,
  primary key (partner_key, anonymous_id)
) strict, without rowid;

-- The next number, and a number's visitor.
create unique index rollup_visitors_number on rollup_visitors (partner_key, visitor);

-- Under which other ids a visitor is known.
create table rollup_names (
  partner_key  text not null,
  kind         text not null check (kind in ('user', 'partner')),  -- a user id, a partner anonymous id
  id           text not null,
  visitor      integer not null,
  primary key (partner_key, kind, id, visitor)
) strict, without rowid;

-- A visitor's events, on all listings of the partner.
create table rollup_events (
  partner_key  text not null,
  visitor      integer not null,
  seq          integer not null,
  app_key      text not null,
  primary key (partner_key, visitor, seq, app_key)
) strict, without rowid;

-- Where each visitor's last journey on a listing stands: see store/rollups/journeys.py.
create table rollup_journeys (
  partner_key  text not null,
  visitor      integer not null,
  app_key      text not null,
  begun_at     integer not null,                              -- epoch ms of its first event, as all times here
  viewed_at    integer not null,                              -- of its first page view; 0: none
  last_at      integer not null,
  done         integer not null,                              -- a bit for each name of events
  steps        integer not null,                              -- how many it has had
  trail        text not null,                                 -- the last of them, JSON
  primary key (partner_key, visitor, app_key)
) strict, without rowid;

-- The values that a facet has had: when there are too many, the rest count as one.
create table rollup_values (
  app_key      text not null,
  partner_key  text not null,
  facet        text not null,
  value        text not null,
  primary key (app_key, partner_key, facet, value)
) strict, without rowid;

-- How often something was, and with whom: by the half-hour, so that days can begin at any zone's midnight …
create table rollup_slots (
  app_key      text not null,
  partner_key  text not null,
  facet        text not null,                                 -- see store/rollups/facets.py
  slot         integer not null,                              -- half-hours since the epoch
  value        text not null,
  events       integer not null,
  visitors     blob not null,                                 -- a roaring bitmap of their numbers
  primary key (app_key, partner_key, facet, slot, value)
) strict, without rowid;

-- … and by the day (UTC), the same once more for long times: the days before the one from which it is summed on the way.
create table rollup_days (
  app_key      text not null,
  partner_key  text not null,
  facet        text not null,
  day          integer not null,                              -- since the epoch
  value        text not null,
  events       integer not null,
  visitors     blob not null,
  primary key (app_key, partner_key, facet, day, value)
) strict, without rowid;

create table rollup_apps (
  app_key      text not null,
  partner_key  text not null,
  open_day     integer not null,                              -- the first day that rollup_days does not have
  primary key (app_key, partner_key)
) strict, without rowid;
