-- Subjects: who is one, as far as ids tell. The follower of the rollups notes which ids an event names together, in the
-- transaction that counts it: see store/subjects/.

-- Two ids that one event named; each pair twice, once from either end.
create table subject_links (
  app_key      text not null,
  partner_key  text not null,
  id           text not null,
  kind         text not null,                                 -- see store/subjects/naming.py
  other_id     text not null,
  other_kind   text not null,
  alias        integer not null,                              -- 1: it was said that both are one user
  followed     integer not null,                              -- 0: it would have made too large a subject
  day          integer not null,                              -- when an event that named them last came in, since the epoch
  primary key (app_key, partner_key, id, kind, other_id, other_kind)
) strict, without rowid;

-- What is forgotten with the events that named it.
create index subject_links_day on subject_links (app_key, day);

-- Whose each of these ids is.
create table subject_ids (
  app_key      text not null,
  partner_key  text not null,
  id           text not null,
  kind         text not null,
  subject      text not null,                                 -- the same for all ids of one subject, and for no other
  shared       integer not null,                              -- 1: of several users, 2: of too many; nobody's then
  primary key (app_key, partner_key, id, kind)
) strict, without rowid;

-- All ids of one.
create index subject_ids_subject on subject_ids (app_key, partner_key, subject);
