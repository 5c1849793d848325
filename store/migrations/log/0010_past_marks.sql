-- Whether something was said of a member later: the newest mark stays as long as they are in the audience, all others go
-- with their events. What was superseded before this step says 0 until the rollups are rebuilt.
alter table audience_marks add column past integer not null default 0;

create index audience_marks_past on audience_marks (app_key, seq) where past = 1;
