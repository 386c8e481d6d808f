do $$
begin
  if exists (
    select
    from credits.credit_cost_changes c
    where c.change_no > 1 or c.action_type not in ('create_agent', 'prompt_formatting', 'prompt_generation', 'generate_template',
      'send_email', 'import_emails', 'agent_call_runtime', 'script_generation', 'voice_creation', 'video_processing', 'chat_refinement',
      'weekly_report', 'performance_review', 'brag_doc', 'workstream_clustering', 'chat_tool_call', 'chat_time', 'chat_message')
  ) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'prices were changed or added, which would be lost';
  end if;
end
$$;

delete from credits.credit_costs;

delete from credits.credit_cost_changes;
