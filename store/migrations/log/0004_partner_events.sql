-- Events that a partner's own systems sent. SQLite's own way to take another check without writing the table anew
-- (https://www.sqlite.org/lang_altertable.html, "making other kinds of table schema changes"); the table made and dropped
-- has every connection read the schema again.
pragma writable_schema = on;
update sqlite_schema
set sql = replace(sql, '(''browser'', ''server'')', '(''browser'', ''server'', ''partner'')')
where type = 'table' and name = 'events';
create table read_again (one integer) strict;
drop table read_again;
pragma writable_schema = reset;
