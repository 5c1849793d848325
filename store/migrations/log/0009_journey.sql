-- The last campaign that led a visitor to the listing, JSON: see store/campaign.py. An install of the same journey gets it.
-- Null or '': none is known, or the visitor refused that anything is passed on.
alter table visitors add column campaign text;
