using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Who may call, read and write what, and what an attacker with a session of his own gets: nothing.</summary>
public sealed class AccessTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private static readonly string[] Reading =
        ["get_credit_balance", "can_perform_action", "clock_now", "actor", "fail", "check_argument", "check_amount", "outcome", "amount_of", "price_of", "due_steps", "period_start", "period_number",
        "plan_terms", "allocations", "get_balance_at",
        "get_usage_stats", "get_feature_usage", "usage_tail",
        "list_purchases", "get_top_up", "top_up_spent",
        "project_wallet", "owed_payments"];

    private static readonly string[] Verifying = ["verify_ledger", "verify_slice", "id_before", "key_hash", "known_rows", "verify_attachments", "trigger_signature"];

    private static readonly string[] Charging =
    [
        "open_account", "user_id_for", "uuid_v5", "sha1", "charge_uncharged", "deduct_credits_for_action", "deduct_call_credits", "deduct_credits_for_email_send",
        "deduct_credits_for_prompt_formatting", "deduct_credits_for_prompt_generation", "deduct_credits_for_email_import_batch",
        "open_chat_session", "record_chat_time",
        "deduct_credits_batch", "deduct_chat_message", "reserve_credits", "extend_reservation", "commit_reservation", "release_reservation", "refund_credits", "settle_due_wallets",
        "track_usage_and_deduct_credits", "roll_up_usage",
        "create_purchase",
        "set_top_up",
        "set_threshold", "notify_expiring", "read_notifications",
    ];

    private static readonly string[] Administering =
    [
        "grant_credits", "add_purchased_credits", "set_cost", "attach_charge", "detach_charge", "carry_row", "check_column", "ensure_trigger",
        "register_attachment", "register_trigger", "unregister_attachment", "drop_charge_triggers",
        "adjust_credits", "change_plan", "rollback_reset",
        "attach_chat", "meter_rows", "check_attachable",
        "set_package", "complete_purchase", "fail_purchase", "refund_purchase", "reinstate_purchase",
        "suspend_account", "reactivate_account", "close_account", "erase_user_data", "import_balance", "import_history", "archive_ledger",
        "set_plan", "set_allowance", "set_feature",
        "attach_accounts", "detach_accounts", "open_accounts",
    ];

    /// <summary>What only the host calls.</summary>
    internal static readonly string[] Hosting =
    [
        "apply_payment_event", "retry_payment_event", "dismiss_payment_event", "list_payment_events", "keep_checkout", "begin_top_ups",
        "create_api_key", "find_api_key", "note_api_key_use", "revoke_api_key", "list_api_keys",
        "get_changes", "get_changed_users",
        "get_data_protection_keys", "store_data_protection_key",
        "set_webhook_endpoint", "rotate_webhook_secret", "delete_webhook_endpoint", "get_webhook_endpoints", "get_webhook_target", "claim_webhook_deliveries",
        "finish_webhook_delivery", "get_dead_webhooks", "retry_dead_webhooks", "purge_webhook_deliveries",
    ];

    /// <summary>What the worker and whoever answers its alerts call.</summary>
    private static readonly string[] Working =
    [
        "expire_purchases", "roll_up_next", "verify_next", "find_anomalies", "forget_keys", "get_worker_state", "list_alerts", "acknowledge_alert",
    ];

    public static TheoryData<string, string[]> Matrix => new()
    {
        { "creditdb_user", Reading },
        { "creditdb_reader", [.. Reading, .. Verifying] },
        { "creditdb_app", [.. Reading, .. Verifying, .. Charging] },
        { "creditdb_admin", [.. Reading, .. Verifying, .. Charging, .. Administering, .. Hosting, .. Working] },
    };

    [Theory]
    [MemberData(nameof(Matrix))]
    public async Task Each_role_may_call_exactly_its_functions(string role, string[] functions) => Assert.Equal(
        functions.Order(StringComparer.Ordinal),
        await db.Column<string>(
            "select proname::text from pg_proc where pronamespace = 'credits'::regnamespace and has_function_privilege($1, oid, 'execute') order by proname collate \"C\"", role));

    [Theory]
    [InlineData("creditdb_user")]
    [InlineData("creditdb_reader")]
    [InlineData("creditdb_app")]
    [InlineData("creditdb_admin")]
    public async Task No_role_writes_a_table_directly(string role)
    {
        var user = await db.Account(10);
        await using var connection = await As(role);
        foreach (var sql in new[]
        {
            "update credits.wallets set balance = 1000 where user_id = $1",
            "delete from credits.credit_ledger where user_id = $1",
            "update credits.stored_grants set remaining = amount where user_id = $1",
            "insert into credits.charge_keys select * from credits.charge_keys where user_id = $1",
            "update credits.credit_costs set cost_per_unit = 0 where $1 is not null",
            "update credits.credit_ledger set amount = 0 where user_id = $1",
        })
        {
            var error = await Assert.ThrowsAsync<PostgresException>(() => connection.Run(sql, user));
            Assert.Equal("42501", error.SqlState);
        }
        await Denied(connection, "select credits.charge($1, 'send_email', 1, null, '{}', 'caller', null)", user);
        await Denied(connection, "select credits.save_wallet(w) from credits.wallets w where user_id = $1", user);
    }

    [Fact]
    public async Task The_application_charges_and_reads_but_does_not_grant()
    {
        var user = await db.Account(10);
        await using var connection = await As("creditdb_app");
        Assert.True((await connection.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user)).Flag("success"));
        Assert.Equal(5, (await connection.Json("select credits.get_credit_balance($1)", user)).Number("total"));
        Assert.Equal(1, await connection.Value<long>("select count(*) from credits.credit_usage_logs where user_id = $1", user));
        Assert.True((await connection.Json("select credits.can_perform_action($1, 'create_agent')", user)).Flag("can_perform"));
        await Denied(connection, "select credits.grant_credits($1, 1000, 'promotional')", user);
        await Denied(connection, "select credits.add_purchased_credits($1, 1000)", user);
        await Denied(connection, "select credits.set_cost('create_agent', 0)");
        await Denied(connection, "select credits.attach_charge('public.bots', 'create_agent')");
    }

    [Fact]
    public async Task A_role_with_no_more_than_insert_on_its_table_is_charged()
    {
        var user = await db.Account(10);
        var role = "plain_" + Guid.NewGuid().ToString("N");
        await db.Run($"create role {role}; grant insert on public.bots, public.calls to {role}; grant select, update on public.calls to {role}");
        await using (var connection = await As(role))
        {
            await connection.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
            await connection.Run("insert into public.calls (user_id, status) values ($1, 'in_progress')", user);
            await connection.Run("update public.calls set status = 'completed', duration_seconds = 61 where user_id = $1", user);
            await Denied(connection, "select * from credits.wallets");
            await Denied(connection, "select credits.get_credit_balance($1)", user);
        }
        Assert.Equal(3, await db.Balance(user));
        await db.Run($"drop owned by {role}; drop role {role}");
    }

    [Fact]
    public async Task A_person_reads_own_rows_only()
    {
        var (me, other) = (await db.Account(10), await db.Account(20));
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a'), ($2, 'b')", me, other);
        await using var connection = await As("creditdb_user");
        Assert.Equal(0, await connection.Value<long>("select count(*) from credits.wallets"));
        await connection.Run($"set credits.user_id = '{me}'");
        foreach (var table in await db.Column<string>("select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and c.relkind in ('r', 'v') where c.relnamespace = 'credits'::regnamespace and c.relname <> 'alerts'"))
            Assert.Equal(0, await connection.Value<long>($"select count(*) from credits.{table} where user_id <> $1", me));
        Assert.Equal(1, await connection.Value<long>("select count(*) from credits.credit_usage_logs"));
        Assert.Equal(5, (await connection.Json("select credits.get_credit_balance($1)", me)).Number("total"));
        Assert.Equal("unknown_account", (await connection.Json("select credits.get_credit_balance($1)", other)).Text("code"));
        await Denied(connection, "select credits.deduct_credits_for_action($1, 'send_email')", me);
    }

    [Fact]
    public async Task A_hostile_search_path_with_shadowing_functions_operators_tables_and_types_changes_nothing()
    {
        var user = await db.Account(100);
        var role = "hostile_" + Guid.NewGuid().ToString("N");
        await db.Run($"create role {role}; grant creditdb_app to {role}; grant insert on public.bots to {role}; create schema {role} authorization {role}");
        await using (var connection = await As(role))
        {
            await connection.Run(
                $"""
                create table {role}.trace (who text);
                create function {role}.clock_timestamp() returns timestamptz language plpgsql as $$ begin insert into trace values (current_user); return 'infinity'; end $$;
                create function {role}.round(numeric, integer) returns numeric language sql as 'select 0::numeric';
                create function {role}.greatest_evil(numeric, numeric) returns boolean language sql as 'select true';
                create operator {role}.< (leftarg = numeric, rightarg = numeric, function = {role}.greatest_evil);
                create operator {role}.>= (leftarg = numeric, rightarg = numeric, function = {role}.greatest_evil);
                """);
            await connection.Run("create temp table wallets (user_id uuid, balance numeric); create temp table credit_costs (action_type text); create domain pg_temp.uuid as text; create domain pg_temp.jsonb as text");
            await connection.Run($"set search_path = pg_temp, {role}, public, pg_catalog");
            Assert.Equal(5m, (await connection.Json("select credits.deduct_credits_for_action($1, 'create_agent')::text", user)).Number("credits_deducted"));
            await connection.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
            Assert.Equal("insufficient_credits", (await connection.Json("select credits.deduct_credits_for_action($1, 'create_agent', 1000)::text", user)).Text("code"));
            Assert.Equal(0, await connection.Value<long>($"select count(*) from {role}.trace"));
        }
        Assert.Equal(90, await db.Balance(user));
        await db.Run($"drop owned by {role}; drop role {role}");
    }

    [Fact]
    public async Task A_reader_reads_everything_and_verifies()
    {
        await db.Account(10);
        await using var connection = await As("creditdb_reader");
        Assert.NotEqual(0, await connection.Value<long>("select count(*) from credits.credit_ledger"));
        Assert.Equal(0, await connection.Value<long>("select count(*) from credits.verify_ledger()"));
        Assert.Equal(0, await connection.Value<long>("select count(*) from credits.verify_attachments()"));
    }

    [Fact]
    public async Task An_administrator_who_owns_a_table_attaches_it()
    {
        var user = await db.Account(10);
        var role = "admin_" + Guid.NewGuid().ToString("N");
        await db.Run($"create role {role}; grant creditdb_admin to {role}; create schema {role} authorization {role}");
        await using (var connection = await As(role))
        {
            await connection.Run($"create table {role}.docs (id int primary key, user_id uuid not null)");
            await connection.Run($"select credits.attach_charge('{role}.docs', 'brag_doc')");
            await connection.Run($"insert into {role}.docs values (1, $1)", user);
            Assert.Equal("UC402", (await Assert.ThrowsAsync<PostgresException>(() => connection.Run("select credits.attach_charge('public.bots', 'brag_doc', p_source => 'x')"))).SqlState);
            await connection.Run($"select credits.detach_charge('{role}.docs')");
        }
        Assert.Equal(8, await db.Balance(user));
        await db.Run($"drop owned by {role}; drop role {role}");
    }

    [Fact]
    public async Task A_trigger_made_by_hand_reads_no_temporary_view_with_the_engines_rights_and_burns_no_identity()
    {
        var user = await db.Account(100);
        await db.Run("create table public.letters (id uuid primary key, user_id uuid not null); select credits.attach_charge('public.letters', 'create_agent')");
        var function = await db.Value<string>("select tgfoid::regproc::text from pg_trigger where tgrelid = 'public.letters'::regclass");
        var letter = Guid.NewGuid();
        var role = "eve_" + Guid.NewGuid().ToString("N");
        await db.Run($"create role {role}; grant creditdb_admin to {role}; create schema {role} authorization {role}; grant usage on schema {role} to public");
        await using (var eve = await As(role))
        {
            await eve.Run(
                $"""
                create table {role}.trace (who text);
                create function {role}.evil() returns uuid language plpgsql as $$ begin insert into {role}.trace values (current_user); return null; end $$;
                create table {role}.x (id uuid primary key, user_id uuid not null);
                create temp view new_rows as select {role}.evil() as user_id, gen_random_uuid() as id;
                grant select on new_rows to public;
                create trigger a after insert on {role}.x for each statement execute function {function}();
                create trigger b after insert on {role}.x referencing new table as new_rows for each statement execute function {function}();
                """);
            await eve.Run($"insert into {role}.x values ($1, $2)", letter, user);
            await eve.Run($"select credits.attach_charge('{role}.x', 'send_email')");
            var name = await eve.Value<string>($"select tgname::text from pg_trigger where tgrelid = '{role}.x'::regclass and tgname like 'credits%'");
            var own = await eve.Value<string>($"select tgfoid::regproc::text from pg_trigger where tgrelid = '{role}.x'::regclass and tgname = $1", name);
            await eve.Run($"drop trigger {name} on {role}.x; create trigger {name} after insert on {role}.x for each statement execute function {own}()");
            await eve.Run($"insert into {role}.x values (gen_random_uuid(), $1)", user);
            Assert.Equal(0, await eve.Value<long>($"select count(*) from {role}.trace"));
            Assert.Equal([$"a belongs to no attachment, and charges nothing", "b belongs to no attachment, and charges nothing", $"{name} replaced"],
                await eve.Column<string>($"select trigger_name || ' ' || problem from credits.verify_attachments() where relation = '{role}.x' order by 1"));
            Assert.Equal("UC402", (await Assert.ThrowsAsync<PostgresException>(() => eve.Run("select credits.unregister_attachment('public.bots')"))).SqlState);
            Assert.Equal("UC402", (await Assert.ThrowsAsync<PostgresException>(() => eve.Run("select credits.register_trigger('public.bots', 'credits_charge_agent_created', 'x')"))).SqlState);
            await eve.Run($"select credits.detach_charge('{role}.x')");
        }
        await db.Run($"drop owned by {role} cascade; drop role {role}");
        await db.Run("insert into public.letters values ($1, $2)", letter, user);
        Assert.Equal(95, await db.Balance(user));
        await db.Run("select credits.detach_charge('public.letters'); drop table public.letters");
    }

    private static async Task Denied(NpgsqlConnection connection, string sql, params object?[] arguments) =>
        Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => connection.Run(sql, arguments))).SqlState);

    private async Task<NpgsqlConnection> As(string role)
    {
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(db.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync();
        await connection.Run($"set session authorization {role}");
        return connection;
    }
}
