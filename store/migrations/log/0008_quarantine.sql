-- Requests that came without proof of their sender, as they came but for secrets and addresses, until somebody of the
-- app's partner releases or drops them, or they are as old as rejections may get.
create table quarantine (
  app_key        text not null,
  quarantine_id  text not null,                               -- of the path and the body: what comes again is here once
  door           text not null,
  path           text not null,
  received_at    integer not null,
  reason         text not null,                               -- why the proof did not hold
  size           integer not null,                            -- of the body, in bytes
  body           blob not null,
  primary key (app_key, quarantine_id)
) strict;

-- What an app has there, the newest first, and how much (store/quarantine.py).
create index quarantine_app on quarantine (app_key, received_at, size);

-- What is old enough to go.
create index quarantine_received on quarantine (received_at);
