-- Only the table that our script made; one that was there before was left alone and still is.
do $$
begin
  if exists (select from credits.charge_attachments a where a.source = 'public.bots' and a.settings ? 'reference_table') then
    if exists (select from public.bots) and current_setting('credits.force_rollback', true) is distinct from 'on' then
      raise exception using errcode = 'UC390', message = 'public.bots has rows, which would be lost';
    end if;
    drop table public.bots;
    delete from credits.charge_attachments a where a.source = 'public.bots';
  end if;
end
$$;
