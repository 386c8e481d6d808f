do $$
begin
  perform credits.ensure_trigger(null, 'credits.plan_features', 'plan_features_mark_prices', 'after insert or update or delete or truncate',
    'for each statement execute function credits.mark_plan_terms()');
  perform credits.ensure_trigger(null, 'credits.credit_costs', 'credit_costs_mark_plan_terms', 'after insert',
    'for each statement execute function credits.mark_plan_terms()');
end
$$;
