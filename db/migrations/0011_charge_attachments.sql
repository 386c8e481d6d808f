create table credits.charge_attachments (
  source text not null,
  relation regclass not null,
  action_type text not null,
  settings jsonb not null default '{}',
  triggers jsonb not null default '{}',
  constraint charge_attachments_pkey primary key (source),
  constraint charge_attachments_source_not_caller check (source not in ('caller', 'import', 'erased') and length(source) between 1 and 255)
);

comment on table credits.charge_attachments is
  'The application tables whose rows are charged, and how: settings is what attach_charge() was told, which the triggers read here. triggers '
  'holds each trigger''s name and how it was defined, so that verify_attachments() sees one that is missing, disabled or replaced.';
