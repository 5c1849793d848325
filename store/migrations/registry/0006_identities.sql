-- Who somebody is at an OpenID Connect provider: found by a verified address the first time, and by this from then on.
create table identities (
  issuer      text not null,
  subject     text not null,                                  -- the provider's own name for them, for good
  person_id   text not null references people (person_id),
  created_at  integer not null,
  primary key (issuer, subject),
  unique (person_id, issuer)
) strict;

-- The partner whose people, apps or tokens a line is about, who may read it; null: for operators alone.
alter table audit add column partner_key text;

-- For a partner's owners, newest first.
create index audit_partner on audit (partner_key, audit_id);

-- The line of the audit about the last change. That somebody signed in is a line too, and no change.
alter table revision add column changed text not null default '';
