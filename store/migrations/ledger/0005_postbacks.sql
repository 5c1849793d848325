-- What was told of the results of attribution, and to whom. Written by the exporter alone.

-- One row for each conversion that one target is owed.
--   pending  -> accepted   the target answered that it took it
--   pending  -> given_up   with the reason: attempts are spent, it is refused, a person or the target gave up
--   pending  -> unasked    the target is not to hear of it: it asks for other campaigns, or the visitor said no
--   given_up -> pending    a person asked for another try
--   any      -> pending or unasked, when the conversion was decided anew and what is told of it is another thing
create table postbacks (
  app_key        text not null,
  target_id      text not null,
  seq            integer not null,                            -- of the conversion
  version        integer not null,                            -- of the decision that the state is about
  state          text not null check (state in ('pending', 'accepted', 'given_up', 'unasked')),
  reason         text not null,                               -- '' for pending and accepted
  converted_at   integer not null,                            -- epoch ms
  due_at         integer not null,                            -- epoch ms: pending ones wait until then
  attempts       integer not null,                            -- of this version
  told           text not null,                               -- a hash over what is told, so that only news is sent anew
  changed_at     integer not null,
  primary key (app_key, target_id, seq)
) strict, without rowid;

-- What is to be sent, the oldest first.
create index postbacks_due on postbacks (app_key, target_id, due_at) where state = 'pending';

-- What a target was owed, the newest first.
create index postbacks_newest on postbacks (app_key, target_id, converted_at, seq);

-- How a target fares, and how far the decisions were looked through for it. Only the run that holds the lease writes it.
create table postback_health (
  app_key        text not null,
  target_id      text not null,
  seen           integer not null default 0,                  -- the ordinal of the newest decision that was looked at
  lease_owner    text not null default '',
  lease_until    integer not null default 0,                  -- epoch ms; a lease runs out by itself
  not_before     integer not null default 0,                  -- epoch ms: left alone until then
  failures       integer not null default 0,                  -- attempts that failed in a row
  failing_since  integer not null default 0,                  -- epoch ms of the first of them
  disabled_at    integer not null default 0,                  -- epoch ms; 0: it is sent to
  disabled_why   text not null default '',
  primary key (app_key, target_id)
) strict, without rowid;

-- One row is one request to a target.
--   open -> accepted, refused (for good), deferred (for now), ambiguous (the answer was lost, or the exporter died)
create table postback_attempts (
  app_key        text not null,
  attempt_id     text not null,                               -- UUIDv7: time-ordered
  target_id      text not null,
  seq            integer not null,
  version        integer not null,
  run_id         text not null,
  message_id     text not null,                               -- as sent: the same for every attempt of a version
  attempt        integer not null,
  opened_at      integer not null,
  closed_at      integer,
  latency_ms     integer,
  outcome        text not null check (outcome in ('open', 'accepted', 'refused', 'deferred', 'ambiguous')),
  status         integer,                                     -- HTTP status, when there was an answer
  detail         text not null default '',                    -- excerpt of the answer, or the error's class
  primary key (app_key, attempt_id)
) strict, without rowid;

create index postback_attempts_target on postback_attempts (app_key, target_id, attempt_id);

create index postback_attempts_open on postback_attempts (app_key, target_id) where outcome = 'open';

create index postback_attempts_closed on postback_attempts (closed_at);

-- What was asked (the registry's postback_intents) and is done.
create table postback_intents_done (
  intent_id  text primary key,
  done_at    integer not null,
  outcome    text not null
) strict, without rowid;
