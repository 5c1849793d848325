-- What somebody set for attribution, for the whole marketplace, for an app, or for one campaign of an app; what a row does
-- not set (null) is as the next wider says. Lengths in milliseconds.
create table attribution_rules (
  app_key        text not null,                               -- '' is the marketplace
  campaign_key   text not null,                               -- '' is all of them: see attribution/evidence.py
  click          integer,                                     -- windows: how long before an install a touch counts
  probabilistic  integer,
  view           integer,
  settle         integer,                                     -- how long late evidence decides anew; not for a campaign
  reprocess      integer,                                     -- after how long a reinstall is new, 0: never; nor this …
  by_network     integer check (by_network in (0, 1)),        -- … nor this: match by address and agent
  changed_at     integer not null,                            -- epoch ms
  primary key (app_key, campaign_key)
) strict;
