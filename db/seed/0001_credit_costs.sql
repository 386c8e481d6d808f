-- Runs once: what a DBA changes or deletes afterwards stays so.
insert into credits.credit_costs (action_type, action_name, cost_per_unit, unit_description, credit_type, unit_seconds)
values
  ('create_agent', 'Create Agent', 5, 'per agent', 'credits', null),
  ('prompt_formatting', 'Prompt Formatting', 1, 'per formatting operation', 'credits', null),
  ('prompt_generation', 'Prompt Generation', 2, 'per generation', 'credits', null),
  ('generate_template', 'Generate Email Template', 1, 'per template', 'credits', null),
  ('send_email', 'Send Email', 0.5, 'per email', 'credits', null),
  ('import_emails', 'Import Emails', 5, 'per started 100 emails', 'credits', null),
  ('agent_call_runtime', 'Agent Call Runtime', 1, 'per started minute', 'credits', null),
  ('script_generation', 'Script Generation', 1, 'per script', 'credits', null),
  ('voice_creation', 'Voice Creation', 5, 'per voice', 'credits', null),
  ('video_processing', 'Video Processing', 2, 'per video', 'credits', null),
  ('chat_refinement', 'Chat Refinement', 1, 'per refinement', 'credits', null),
  ('weekly_report', 'Weekly Report', 1, 'per report', 'credits', null),
  ('performance_review', 'Performance Review', 2, 'per review', 'credits', null),
  ('brag_doc', 'Brag Doc', 2, 'per document', 'credits', null),
  ('workstream_clustering', 'Workstream Clustering', 2, 'per clustering', 'credits', null),
  ('chat_tool_call', 'Chat Tool Call', 1, 'per tool call', 'credits', null),
  ('chat_time', 'Chat Time', 0.25, 'per 15 seconds', 'credits', 15),
  ('chat_message', 'Chat Message', 1, 'per message', 'chat_messages', null)
on conflict (action_type) do nothing;
