-- Tokens of partners beside those of the marketplace's back end, and tokens that end.
alter table tokens add column partner_key text;           -- null: the marketplace's own
alter table tokens add column app_key text;               -- null: all of the partner's apps
alter table tokens add column expires_at integer;                                  -- null: never
alter table tokens add column last_used_at integer;                                -- to the minute; null: never
alter table tokens add column created_by text not null default 'command line';
alter table tokens add column last4 text not null default '';                      -- tells tokens apart on a page

-- For whoever reads what was done to one thing, newest first.
create index audit_subject on audit (subject, audit_id);
