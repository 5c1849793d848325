-- Events that a partner's own systems sent. What is there was checked before.
alter table events drop constraint events_source_check;
alter table events add constraint events_source_check check (source in ('browser', 'server', 'partner')) not valid;
