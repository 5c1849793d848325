-- What a partner says of an event that its own systems send, from a moment on: the newest row of a name holds, and an older
-- one for what was received before it.
create table event_rules (
  app_key      text not null references apps (app_key),
  name         text not null,
  since        integer not null,                              -- epoch ms
  shown_as     text not null,                                 -- '': as it is named
  refused      integer not null,                              -- 1: the doors refuse it
  revenue      integer not null,                              -- 1: it brings money
  amount       text not null,                                 -- the property that says how much; '': the usual ones
  currency     text not null,                                 -- the property that says of what; '': the usual one
  again_after  integer not null,                              -- seconds until the event can come back to an ad
  gone         integer not null,                              -- 1: deleted with the name
  primary key (app_key, name, since)
) strict;

-- That a name is to be forgotten: the collector sees it, and does it.
create table event_deletions (
  deletion_id  integer not null,                              -- greater than all before
  app_key      text not null references apps (app_key),
  name         text not null,
  asked_at     integer not null,                              -- epoch ms
  asked_by     text not null,
  primary key (deletion_id, app_key)
) strict;
