-- What a partner's Segment Engage says of its users: audiences that they enter and leave, and traits computed of them.
-- Kept by the follower of the rollups: see store/audiences/.

create table audiences (
  app_key      text not null,
  partner_key  text not null,
  form         text not null check (form in ('audience', 'trait')),
  name         text not null,
  first_at     integer not null,                              -- epoch ms, when it was first said, as all times here
  last_at      integer not null,
  primary key (app_key, partner_key, form, name)
) strict, without rowid;

-- Everything that was said of a member: what was said late finds its place by its time.
create table audience_marks (
  app_key      text not null,
  partner_key  text not null,
  audience     text not null,
  id           text not null,                                 -- as it named its user: see subject_ids
  kind         text not null,
  at           integer not null,
  seq          integer not null,
  member       integer not null,                              -- 1: is in it, 0: is not
  changed      integer not null,                              -- 1: entered or left with this
  primary key (app_key, partner_key, audience, id, kind, at, seq)
) strict, without rowid;

-- An audience's history.
create index audience_marks_changed on audience_marks (app_key, partner_key, audience, at) where changed = 1;

-- How each of them stands by the newest that was said.
create table audience_members (
  app_key      text not null,
  partner_key  text not null,
  audience     text not null,
  id           text not null,
  kind         text not null,
  member       integer not null,
  at           integer not null,
  seq          integer not null,
  told_seq     integer not null,                              -- of whatever came last
  primary key (app_key, partner_key, audience, id, kind)
) strict, without rowid;

-- Who left, and is forgotten with the events that told of it.
create index audience_members_left on audience_members (app_key, told_seq) where member = 0;

-- Which audiences somebody is in.
create index audience_members_id on audience_members (app_key, partner_key, id, kind);

-- How many entered and left, by the half-hour; stays when it is forgotten who.
create table audience_slots (
  app_key      text not null,
  partner_key  text not null,
  audience     text not null,
  slot         integer not null,                              -- half-hours since the epoch
  entered      integer not null,
  departed     integer not null,
  primary key (app_key, partner_key, audience, slot)
) strict, without rowid;

-- The newest value of each computed trait.
create table audience_traits (
  app_key      text not null,
  partner_key  text not null,
  trait        text not null,
  id           text not null,
  kind         text not null,
  value        text not null,                                 -- JSON, cut; '' when it was taken away
  at           integer not null,
  seq          integer not null,
  primary key (app_key, partner_key, trait, id, kind)
) strict, without rowid;

-- Which values a trait has, and how many have each.
create index audience_traits_value on audience_traits (app_key, partner_key, trait, value);
