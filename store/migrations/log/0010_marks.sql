-- Which mark of a member is the newest: it stays as long as they are in the audience, and all others go with their events.
alter table audience_marks add column newest integer not null default 0;

update audience_marks
set newest = 1
where exists (
  select 1
  from audience_members
  where audience_members.app_key = audience_marks.app_key and audience_members.partner_key = audience_marks.partner_key
    and audience_members.audience = audience_marks.audience and audience_members.id = audience_marks.id
    and audience_members.kind = audience_marks.kind and audience_members.at = audience_marks.at
    and audience_members.seq = audience_marks.seq
);

create index audience_marks_past on audience_marks (app_key, seq) where newest = 0;
