-- Where an app is listed, as its partner says: their links begin there.
alter table apps add column listing_url text not null default '';

-- What was asked of the exporter for one app, the newest first: the portal shows what is still to be done.
create index intents_app on intents (app_key, intent_id);
