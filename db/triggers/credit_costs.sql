do $$
begin
  perform credits.ensure_trigger(null, 'credits.credit_costs', 'credit_costs_keep_usual', 'before insert or update',
    'for each row execute function credits.keep_usual_charge()');
  perform credits.ensure_trigger(null, 'credits.credit_costs', 'credit_costs_record_change', 'after insert or update or delete',
    'for each row execute function credits.record_cost_change()');
end
$$;
