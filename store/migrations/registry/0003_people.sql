-- People who sign in. An operator belongs to no partner; everybody else to one.
create table people (
  person_id      text primary key,                            -- UUID
  email          text not null unique,                        -- lower case
  name           text not null,
  role           text not null check (role in ('operator', 'owner', 'editor', 'viewer')),
  partner_key    text references partners (partner_key),
  password_hash  text not null default '',                    -- Argon2id; '' until the invitation was taken up
  totp_secret    blob,                                        -- encrypted under the secret key; null: no second factor
  totp_step      integer not null default 0,                  -- of the last code that was taken: none is taken twice
  disabled_at    integer,
  created_at     integer not null,
  check ((role = 'operator') = (partner_key is null))
) strict;

-- What stands in for a second factor that was lost; each once.
create table recovery_codes (
  person_id  text not null references people (person_id),
  code_hash  text not null,                                   -- SHA-256 of at least 112 random bits
  used_at    integer,
  primary key (person_id, code_hash)
) strict;

-- Who is signed in, from where. A row ends with the session.
create table sessions (
  token_hash  text primary key,                               -- SHA-256 of the cookie's token
  session_id  text not null unique,                           -- how pages name it
  person_id   text not null references people (person_id),
  created_at  integer not null,
  seen_at     integer not null,
  proved_at   integer not null,                               -- when the password was last given
  address     text not null,
  agent       text not null
) strict;

create index sessions_person on sessions (person_id);

-- Links that were mailed or handed over: an invitation, or a password to be set anew. Each works once.
create table links (
  nonce_hash  text primary key,
  purpose     text not null check (purpose in ('invitation', 'reset')),
  person_id   text not null references people (person_id),
  created_at  integer not null,
  expires_at  integer not null,
  used_at     integer
) strict;

-- How much patience is left for those who try passwords; see store/people/patience.py.
create table patience (
  bucket      text primary key,                               -- a hash: of an address, or of an address and an account
  spent       integer not null,                               -- milliseconds of patience used up …
  at          integer not null                                -- … as of then
) strict;
