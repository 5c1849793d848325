-- What was earned lately, so that it finds its install whichever of the two is told of first.

-- One row per event that brought money. Removed when nothing can change any more whose it is.
create table earnings (
  app_key      text not null,
  seq          integer not null,                              -- of the event
  partner_key  text not null,                                 -- whose the app was then
  earned_at    integer not null,                              -- epoch ms
  open_until   integer not null,                              -- epoch ms of reception: later evidence changes nothing
  currency     text not null,                                 -- ISO 4217
  amount       integer not null,                              -- minor units
  identities   text not null,                                 -- JSON: pairs of a kind and a hash
  install_seq  integer not null,                              -- the conversion that it counts for; 0: none
  primary key (app_key, seq)
) strict, without rowid;

create index earnings_install on earnings (app_key, install_seq);

-- Whose money: an install looks for what its identities brought.
create table earning_identities (
  app_key   text not null,
  identity  blob not null,                                    -- the hash
  seq       integer not null,
  primary key (app_key, identity, seq)
) strict, without rowid;
