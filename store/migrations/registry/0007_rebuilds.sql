-- That the rollups are to be made anew, from the events: the collector sees it, and does it.
create table rebuilds (
  rebuild_id  integer primary key,
  asked_at    integer not null,                               -- epoch ms
  asked_by    text not null
) strict;
