-- Who is told the results of attribution. A target is either the app's own Segment source, which gets "Install
-- Attributed", or a webhook. Rows are kept when a target is removed, because the ledger names them.
create table postback_targets (
  app_key      text not null references apps (app_key),
  target_id    text not null,                                 -- UUID: what is told carries ids made from it
  kind         text not null check (kind in ('segment', 'webhook')),
  name         text not null,                                 -- of the destination, or what a person calls the webhook
  active       integer not null check (active in (0, 1)),     -- 0: switched off
  delivery     text not null check (delivery in ('all', 'network', 'agency')),
  networks     text not null,                                 -- for network and agency: the sources, between commas …
  agencies     text not null,                                 -- … and for agency: who runs a campaign for the partner
  delay_ms     integer not null check (delay_ms between 0 and 600000),
  retries      integer not null check (retries between 0 and 10),
  provider     text not null,                                 -- who says so, in the message to Segment
  url          text not null,                                 -- '' for Segment; else checked by store/endpoint.py
  form         text not null check (form in ('json', 'form')),
  template     text not null,                                 -- of a webhook's body: see wire/macros.py
  secret       blob,                                          -- of a webhook, encrypted under the secret key
  secret_last4 text not null default '',
  old_secret   blob,                                          -- signs as well until then
  old_until    integer not null default 0,                    -- epoch ms
  begins_at    integer not null,                              -- epoch ms: what was received earlier is not owed
  removed_at   integer,
  created_at   integer not null,
  updated_at   integer not null,
  primary key (app_key, target_id)
) strict;

-- An app has one target of a name of each kind at a time.
create unique index postback_targets_named on postback_targets (app_key, kind, name) where removed_at is null;

-- What somebody asks of the exporter, which writes the ledger alone. seq is of the conversion, 0 for what is asked of a target.
create table postback_intents (
  intent_id      text primary key,                            -- UUIDv7: time-ordered
  app_key        text not null references apps (app_key),
  target_id      text not null,
  seq            integer not null,
  action         text not null check (action in ('retry', 'give_up', 'enable')),
  created_at     integer not null
) strict;

create index postback_intents_app on postback_intents (app_key, intent_id);
