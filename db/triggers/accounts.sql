do $$
begin
  perform credits.ensure_trigger(null, 'credits.accounts', 'accounts_copy_status', 'after update',
    'for each row when (old.status is distinct from new.status) execute function credits.copy_account_status()');
end
$$;
