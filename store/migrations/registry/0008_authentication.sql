-- Whether calls for an app have to prove who sends them: off, on (what lacks proof is refused), quarantine (it is parked).
alter table apps add column authentication text not null default 'off';

-- What an app's senders prove it with. Two may be live at once, so that one can follow the other; one that is revoked is gone.
create table key_pairs (
  app_key     text not null references apps (app_key),
  api_key     text not null,                                  -- travels with every call, in the clear
  secret      blob not null,                                  -- encrypted under the secret key; shown once
  created_at  integer not null,
  created_by  text not null,
  primary key (app_key, api_key)
) strict;
