-- Goes up with every change, in the change's own transaction, so that processes on other machines see that there was one.
create table revision (
  one  integer primary key check (one = 1),
  n    integer not null
) strict;

insert into revision values (1, 0);
