namespace CreditDb.Tests.Sql;

/// <summary>What people are told: once an episode, and one thing per user and statement.</summary>
public sealed class NotificationTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Spend = "select credits.deduct_credits_for_action($1, 'prompt_formatting', $2)";

    [Fact]
    public async Task Low_is_told_once_an_episode_by_the_charge_that_leads_there()
    {
        var user = await Account(20, threshold: 5);
        await db.Run(Spend, user, 14m);
        Assert.Empty(await db.Told(user));
        await db.Run(Spend, user, 1m);
        Assert.Equal(["low_balance 1"], await db.Told(user));
        Assert.Equal("{\"available\": 5, \"threshold\": 5}", await db.Value<string>("select details::text from credits.notifications where user_id = $1", user));
        await db.Run(Spend, user, 1m);
        await db.Run(Spend, user, 1m);
        Assert.Equal(["low_balance 1"], await db.Told(user));
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        await db.Run(Spend, user, 9m);
        Assert.Equal(["low_balance 2"], await db.Told(user));
    }

    [Fact]
    public async Task The_usual_charge_of_one_unit_finds_the_threshold_too()
    {
        var user = await Account(10, threshold: 5);
        for (var i = 0; i < 5; i++)
        {
            Assert.Empty(await db.Told(user));
            await db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
        }
        Assert.Equal(["low_balance 1"], await db.Told(user));
        for (var i = 0; i < 4; i++)
            await db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
        Assert.Equal(["low_balance 1"], await db.Told(user));
        await db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
        Assert.Equal(["exhausted 1", "low_balance 1"], (await db.Told(user)).Order());
    }

    [Fact]
    public async Task Exhausted_is_told_once_and_instead_of_low()
    {
        var user = await Account(20, threshold: 5);
        await db.Run(Spend, user, 20m);
        Assert.Equal(["exhausted 1"], await db.Told(user));
        await db.Run(Spend, user, 1m);
        await db.Run("select credits.deduct_credits_for_action($1, 'chat_message')", user);
        Assert.Equal(["exhausted 1"], await db.Told(user));
        await db.Run("select credits.add_purchased_credits($1, 6)", user);
        await db.Run(Spend, user, 6m);
        Assert.Equal(["exhausted 2"], await db.Told(user));
    }

    [Fact]
    public async Task Who_never_had_credits_is_not_told_that_they_are_used_up()
    {
        var user = await db.Account();
        await db.Run("select credits.deduct_chat_message($1)", user);
        await db.Run(Spend, user, 1m);
        Assert.Empty(await db.Told(user));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.notifications where user_id = $1", user));
    }

    [Fact]
    public async Task A_hold_that_leads_there_tells_and_its_release_ends_the_episode()
    {
        var user = await Account(20, threshold: 5);
        for (var i = 1; i <= 2; i++)
        {
            var id = (await db.Json("select credits.reserve_credits($1, 'prompt_formatting', 16)", user)).GetProperty("reservation_id").GetGuid();
            Assert.Equal([$"low_balance {i}"], await db.Told(user));
            await db.Run("select credits.release_reservation($1, $2)", user, id);
        }
    }

    [Fact]
    public async Task A_read_notification_is_left_and_the_next_episode_is_a_new_one()
    {
        var user = await Account(20, threshold: 5);
        await db.Run(Spend, user, 16m);
        await db.Run("update credits.notifications set read_at = now() where user_id = $1", user);
        await db.Run("select credits.add_purchased_credits($1, 20)", user);
        await db.Run(Spend, user, 20m);
        Assert.Equal(["low_balance 1", "low_balance 1"], await db.Told(user));
    }

    [Fact]
    public async Task A_reset_is_told_once_whoever_applies_it_and_the_opening_is_none()
    {
        await db.SetClock("2026-01-15 00:00Z");
        var (user, idle) = (Guid.NewGuid(), Guid.NewGuid());
        await db.Run("select credits.open_account($1), credits.open_account($2)", user, idle);
        Assert.Empty(await db.Told(user));
        await db.SetClock("2026-02-15 00:00Z");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Run(Spend, user, 1m)));
        await db.Run("select credits.settle_due_wallets(1000)");
        await db.Run("select credits.settle_due_wallets(1000)");
        Assert.Equal(["reset 1"], await db.Told(user));
        Assert.Equal(["reset 1"], await db.Told(idle));
        await db.SetClock("2026-03-15 00:00Z");
        await db.Run("select credits.settle_due_wallets(1000)");
        Assert.Equal(["reset 2"], await db.Told(idle));
    }

    [Fact]
    public async Task A_reset_and_a_decline_in_one_statement_are_told_one_after_the_other()
    {
        await db.SetClock("2026-01-15 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.SetClock("2026-02-15 00:00Z");
        Assert.Equal("insufficient_credits", (await db.Json(Spend, user, 1000m)).Text("code"));
        Assert.Empty(await db.Told(user));
        Assert.Equal(1, await Notifications(user));
        await db.Run(Spend, user, 1m);
        Assert.Equal(["reset 1"], await db.Told(user));
    }

    [Theory]
    [InlineData(25_000, "low_balance 1")]
    [InlineData(20_050, "low_balance 1")]
    [InlineData(20_000, "exhausted 1")]
    [InlineData(15_000, "deduction_failed 1")]
    public async Task Twenty_thousand_rows_in_one_statement_tell_one_thing(int credits, string told)
    {
        var user = await Account(credits, threshold: 5000);
        var other = await Account(10, threshold: 1);
        await db.Run("insert into public.email_templates (user_id, name) select case when n = 7 then $2 else $1 end, 'a' from generate_series(0, 20000) n", user, other);
        Assert.Equal([told], await db.Column<string>("select type || ' ' || repeats from credits.notifications where user_id = $1", user));
        Assert.Equal(0, await Notifications(other));
        Assert.Equal(Math.Min(credits, 20_000), await db.Charges(user));
    }

    [Theory]
    [InlineData(9, "low_balance 1")]
    [InlineData(8, "exhausted 1")]
    [InlineData(5, "deduction_failed 3")]
    public async Task Calls_that_one_update_completes_tell_one_thing(int credits, string told)
    {
        var user = await Account(credits, threshold: 3);
        await db.Run("insert into public.calls (user_id, status, duration_seconds) select $1, 'active', 60 from generate_series(1, 8)", user);
        await db.Run("update public.calls set status = 'completed' where user_id = $1", user);
        Assert.Equal([told], await db.Column<string>("select type || ' ' || repeats from credits.notifications where user_id = $1", user));
        // What is told in a later statement is told beside it.
        await db.Json(Spend, user, 1000m);
        Assert.Contains("deduction_failed 1", await db.Column<string>("select type || ' ' || repeats from credits.notifications where user_id = $1 and action_type <> 'agent_call_runtime'", user));
    }

    [Fact]
    public async Task Declines_of_two_actions_in_one_statement_tell_one_thing_and_list_both()
    {
        var user = await db.Account();
        await db.Run("create table public.twice (id uuid primary key default gen_random_uuid(), user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.twice', 'create_agent', p_source => 'twice.a')");
        await db.Run("select credits.attach_charge('public.twice', 'weekly_report', p_source => 'twice.b')");
        await db.Run("insert into public.twice (user_id) values ($1)", user);
        Assert.Equal(["deduction_failed 1"], await db.Column<string>("select type || ' ' || repeats from credits.notifications where user_id = $1", user));
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id = $1", user));
    }

    [Fact]
    public async Task What_is_read_is_told_anew_the_next_time()
    {
        var user = await db.Account();
        await db.Json(Spend, user, 5m);
        await db.Json(Spend, user, 5m);
        var id = await db.Value<Guid>("select notification_id from credits.notifications where user_id = $1", user);
        Assert.Equal("not_found", (await db.Json("select credits.read_notifications($1, $2)", user, Guid.NewGuid())).Text("code"));
        Assert.Equal("not_found", (await db.Json("select credits.read_notifications($1, $2)", await db.Account(), id)).Text("code"));
        Assert.Equal(1, (await db.Json("select credits.read_notifications($1, $2)", user, id)).Number("read"));
        Assert.Equal(0, (await db.Json("select credits.read_notifications($1, $2)", user, id)).Number("read"));
        await db.Json(Spend, user, 5m);
        Assert.Equal([2, 1], await db.Column<int>("select repeats from credits.notifications where user_id = $1 order by read_at nulls last", user));
        Assert.Equal(1, (await db.Json("select credits.read_notifications($1)", user)).Number("read"));
        await db.Fails("UC001", "select credits.read_notifications(null)");
    }

    [Fact]
    public async Task A_change_of_plan_with_two_wallets_due_tells_one_thing()
    {
        var user = await TwoDailyWallets();
        await db.SetClock("2026-01-16 00:00Z");
        await db.Run("select credits.change_plan($1, 'paid')", user);
        Assert.Equal(1, await Notifications(user));
    }

    [Fact]
    public async Task A_worker_with_two_wallets_of_a_user_tells_one_thing_a_statement()
    {
        var user = await TwoDailyWallets();
        await db.SetClock("2026-01-16 00:00Z");
        await db.Run("select credits.settle_due_wallets(1000)");
        Assert.Equal(1, await Notifications(user));
    }

    [Fact]
    public async Task A_suspension_with_two_wallets_due_tells_one_thing()
    {
        var user = await TwoDailyWallets();
        await db.SetClock("2026-01-16 00:00Z");
        await db.Run("select credits.suspend_account($1)", user);
        Assert.Equal(1, await Notifications(user));
    }

    [Fact]
    public async Task Two_wallets_with_credits_about_to_expire_are_told_one_after_the_other()
    {
        var user = await TwoDailyWallets();
        await db.Run("select credits.grant_credits($1, 5, 'trial', '2026-01-16 00:00Z', p_credit_type => t) from unnest(array['credits', 'chat_messages']) t", user);
        Assert.Equal(1, await db.Value<int>("select credits.notify_expiring()"));
        Assert.Equal(1, await Notifications(user));
        Assert.Equal(1, await db.Value<int>("select credits.notify_expiring()"));
        Assert.Equal(2, await Notifications(user));
        Assert.Equal(0, await db.Value<int>("select credits.notify_expiring()"));
    }

    [Fact]
    public async Task What_is_spent_does_not_keep_others_from_being_told()
    {
        await db.SetClock("2026-01-15 00:00Z");
        foreach (var isSpent in new[] { true, true, true, false })
        {
            var user = await db.Account();
            await db.Run("select credits.grant_credits($1, 10, 'trial', '2026-01-17 00:00Z')", user);
            if (isSpent)
            {
                // The second one takes all that is left of the open slice.
                await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'a')", user);
                await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'b')", user);
            }
        }
        var told = 0;
        for (var call = 0; call < 2; call++)
            told += await db.Value<int>("select credits.notify_expiring('3 days', 1)");
        Assert.Equal(1, told);
    }

    [Theory]
    [InlineData("select credits.adjust_credits($1, -1000, 'mistake')", "select credits.get_credit_balance($1)")]
    [InlineData("select credits.commit_reservation($1, reservation_id) from credits.credit_reservations where user_id = $1", "select credits.reserve_credits($1, 'prompt_formatting')")]
    [InlineData("select credits.release_reservation($1, reservation_id) from credits.credit_reservations where user_id = $1", "select credits.reserve_credits($1, 'prompt_formatting')")]
    [InlineData("select credits.open_chat_session($1, $1)", "select credits.get_credit_balance($1)")]
    [InlineData("select credits.record_chat_time($1, $1, 30)", "select credits.open_chat_session($1, $1, 600)")]
    [InlineData("select credits.track_usage_and_deduct_credits($1, 'prompt_formatting', '{\"success\": false}', 'first')", "select credits.get_credit_balance($1)")]
    public async Task What_expired_is_told_by_an_operation_that_is_repeated_or_declined(string operation, string before)
    {
        await db.SetClock("2026-01-15 00:00Z");
        var user = await Account(5, threshold: 8);
        await db.Run("select credits.grant_credits($1, 9, 'trial', '2026-01-20 00:00Z')", user);
        await db.Run(before, user);
        await db.Run(operation, user);
        await db.SetClock("2026-01-21 00:00Z");
        Assert.Empty(await db.Told(user));
        await db.Run(operation, user);
        Assert.Equal(5, await db.Balance(user));
        Assert.Equal(["low_balance 1"], await db.Told(user));
    }

    [Fact]
    public async Task What_expired_is_told_by_a_rollback_that_is_repeated()
    {
        const string rollback = "select credits.rollback_reset($1, 'credits', '2026-02-15 00:00Z', 'mistake')";
        await db.SetClock("2026-01-15 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.SetClock("2026-02-16 00:00Z");
        await db.Run(rollback, user);
        await db.Run("select credits.grant_credits($1, 9, 'trial', '2026-02-20 00:00Z')", user);
        await db.Run("select credits.set_threshold($1, $2)", user, await db.Balance(user) - 5);
        await db.SetClock("2026-02-21 00:00Z");
        Assert.Equal("already_settled", (await db.Json(rollback, user)).Text("code"));
        Assert.Contains("low_balance 1", await db.Told(user));
    }

    [Fact]
    public async Task A_trigger_of_ones_own_that_changes_the_wallet_in_the_midst_of_an_operation_undoes_it()
    {
        var user = await Account(10, threshold: 5);
        await OnNotifications("perform credits.grant_credits(new.user_id, 100, 'promotional')", async () =>
        {
            await db.Fails("UC360", Spend, user, 11m);
            // Both are the wallet's entry 3.
            await db.Fails("23505", Spend, user, 5m);
        });
        await OnNotifications("if pg_trigger_depth() < 2 then perform credits.set_threshold(new.user_id, 8); end if", async () =>
        {
            await db.Fails("UC360", Spend, user, 11m);
            await db.Fails("UC360", Spend, user, 5m);
        });
        Assert.Equal(10, await db.Balance(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    [Fact]
    public async Task A_trigger_of_ones_own_may_grant_when_a_purchase_is_told()
    {
        var user = await Account(10, threshold: 5);
        await OnNotifications("perform credits.grant_credits(new.user_id, 100, 'promotional')", async () =>
        {
            var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
            await db.Run("select credits.complete_purchase($1, p.purchase_id, 'thanked', p.price_minor, p.currency) from credits.credit_purchases p where p.purchase_id = $2", user, purchase);
            Assert.Equal(110 + await db.Value<decimal>("select credits from credits.credit_purchases where purchase_id = $1", purchase), await db.Balance(user));
        });
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    [Fact]
    public async Task A_trigger_of_ones_own_may_grant_to_a_user_who_is_settled_next()
    {
        Guid[] users = [Guid.NewGuid(), Guid.NewGuid()];
        for (var i = 0; i < 2; i++)
        {
            await db.SetClock($"2026-01-15 0{i}:00Z");
            await db.Run("select credits.open_account($1)", users[i]);
        }
        await db.SetClock("2026-02-16 00:00Z");
        await OnNotifications($"if new.user_id = '{users[0]}' then perform credits.grant_credits('{users[1]}', 5, 'promotional'); end if", () =>
            db.Run("select credits.settle_due_wallets()"));
        Assert.Equal([100m, 105m], [await db.Balance(users[0]), await db.Balance(users[1])]);
        foreach (var user in users)
            Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    private async Task OnNotifications(string statement, Func<Task> act)
    {
        await db.Run($"create function public.react() returns trigger language plpgsql as $$ begin {statement}; return null; end $$");
        await db.Run("create trigger reaction after insert or update on credits.notifications for each row execute function public.react()");
        try
        {
            await act();
        }
        finally
        {
            await db.Run("drop function public.react() cascade");
        }
    }

    private Task<long> Notifications(Guid user) => db.Value<long>("select count(*) from credits.notifications where user_id = $1", user);

    private async Task<Guid> Account(decimal credits, decimal threshold)
    {
        var user = await db.Account();
        await db.Run("update credits.wallets set low_threshold = $2 where user_id = $1 and credit_type = 'credits'", user, threshold);
        await db.Run("select credits.add_purchased_credits($1, $2)", user, credits);
        return user;
    }

    private async Task<Guid> TwoDailyWallets()
    {
        await db.SetClock("2026-01-15 00:00Z");
        await db.Run("insert into credits.plans (plan_id, plan_name) values ('days', 'Days') on conflict do nothing");
        await db.Run("insert into credits.plan_allowances values ('days', 'credits', 10, 'day'), ('days', 'chat_messages', 5, 'day') on conflict do nothing");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'days')", user);
        return user;
    }
}
