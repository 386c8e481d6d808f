-- How the host knows its callers. A reference table: keys of services and operators belong to no user.
create table credits.api_keys (
  key_id text not null,
  key_name text not null,
  scopes text[] not null,
  for_user uuid,
  hash_key bytea not null,
  hash bytea not null,
  created_at timestamptz not null,
  created_by text,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_keys_pkey primary key (key_id),
  constraint api_keys_key_id_is_short check (key_id ~ '^[a-z2-7]{12}$'),
  constraint api_keys_key_name_not_empty check (length(key_name) between 1 and 100),
  constraint api_keys_scopes_one_kind check (cardinality(array_positions(scopes, 'service') || array_positions(scopes, 'user')
    || array_positions(scopes, 'admin')) = 1),
  constraint api_keys_user_is_named check ((for_user is not null) = ('user' = any (scopes))),
  constraint api_keys_hash_is_long check (octet_length(hash_key) >= 16 and octet_length(hash) = 32)
);

create unique index api_keys_key_name_key on credits.api_keys (key_name) where revoked_at is null;

comment on table credits.api_keys is
  'Keys of the HTTP API. The secret is shown once and is not here: hash is HMAC-SHA256 of it under hash_key. Only functions read this table.';
comment on column credits.api_keys.key_id is 'The readable part of the key, by which it is found.';
comment on column credits.api_keys.scopes is
  'service (acts for any user), user (for for_user only; may spend with spend, or on one action with spend:ACTION) or admin.';

create table credits.data_protection_keys (
  friendly_name text not null,
  xml text not null,
  created_at timestamptz not null,
  constraint data_protection_keys_pkey primary key (friendly_name)
);

comment on table credits.data_protection_keys is
  'The host''s keys, which sign user tokens and seal stored secrets; here so that several hosts share them. Only functions read this table.';
