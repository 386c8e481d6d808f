namespace CreditDb.Tests.Sql;

public sealed class PriceTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task Every_price_of_the_seed_is_there()
    {
        Assert.Equal(
            [
                "agent_call_runtime 1 credits", "brag_doc 2 credits", "chat_message 1 chat_messages", "chat_refinement 1 credits", "chat_time 0.25 credits",
                "chat_tool_call 1 credits", "create_agent 5 credits", "generate_template 1 credits", "import_emails 5 credits", "performance_review 2 credits",
                "prompt_formatting 1 credits", "prompt_generation 2 credits", "script_generation 1 credits", "send_email 0.5 credits",
                "video_processing 2 credits", "voice_creation 5 credits", "weekly_report 1 credits", "workstream_clustering 2 credits",
            ],
            await db.Column<string>("select concat_ws(' ', action_type, cost_per_unit, credit_type) from credits.credit_costs where action_type not like 'test%' order by 1"));
    }

    [Fact]
    public async Task Every_change_of_a_price_is_kept_however_it_was_made()
    {
        await db.Run("select credits.set_cost('test_kept', 1)");
        await db.Run("select credits.set_cost('test_kept', 2)");
        await db.Run("select credits.set_cost('test_kept', 2)");
        await db.Run("update credits.credit_costs set cost_per_unit = 3, is_active = false where action_type = 'test_kept'");
        await db.Run("delete from credits.credit_costs where action_type = 'test_kept'");
        await db.Run("select credits.set_cost('test_kept', 4)");
        Assert.Equal(["1 1 t f", "2 2 t f", "3 3 f f", "4 3 f t", "5 4 t f"], await db.Column<string>(
            "select concat_ws(' ', change_no, cost_per_unit, is_active, is_deleted) from credits.credit_cost_changes where action_type = 'test_kept' order by change_no"));
    }

    [Theory]
    [InlineData("NaN")]
    [InlineData("-1")]
    [InlineData("0.0000004")]
    [InlineData("1000000001")]
    public async Task A_direct_update_cannot_make_a_price_wrong(string price)
    {
        await db.Fails("23514", "update credits.credit_costs set cost_per_unit = $1::numeric where action_type = 'create_agent'", price);
        await db.Fails("UC001", "select credits.set_cost('create_agent', $1::numeric)", price);
    }

    [Fact]
    public async Task An_action_keeps_its_name_and_its_credit_type_for_life()
    {
        await db.Run("select credits.set_cost('test_typed', 1)");
        await db.Fails("UC301", "update credits.credit_costs set credit_type = 'tokens' where action_type = 'test_typed'");
        await db.Fails("UC301", "update credits.credit_costs set action_type = 'test_other' where action_type = 'test_typed'");
        await db.Fails("UC001", "select credits.set_cost('test_typed', p_credit_type => 'tokens')");
        await db.Run("delete from credits.credit_costs where action_type = 'test_typed'");
        await db.Fails("UC301", "select credits.set_cost('test_typed', 1, p_credit_type => 'tokens')");
    }

    [Theory]
    [InlineData("select credits.set_cost(null, 1)")]
    [InlineData("select credits.set_cost('Bad Name', 1)")]
    [InlineData("select credits.set_cost('test_new')")]
    [InlineData("select credits.set_cost('create_agent', p_on_insufficient => 'explode')")]
    [InlineData("select credits.set_cost('create_agent', p_action_name => '')")]
    public async Task Refuses_malformed_arguments(string sql) => await db.Fails("UC001", sql);

    [Fact]
    public async Task Two_callers_who_add_the_same_action_both_succeed()
    {
        await Task.WhenAll(Enumerable.Range(0, 10).Select(i => db.Run("select credits.set_cost('test_both', $1::numeric)", (decimal)(i + 1))));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.credit_costs where action_type = 'test_both'"));
    }

    [Fact]
    public async Task Charging_and_a_change_of_price_at_the_same_time_charge_either_price_and_pin_it()
    {
        var user = await db.Account(10_000);
        await db.Run("select credits.set_cost('test_moving', 1)");
        await Task.WhenAll(Enumerable.Range(0, 40).Select(i => i % 4 == 0
            ? db.Run("select credits.set_cost('test_moving', $1::numeric)", (decimal)(1 + i % 3))
            : db.Run("select credits.deduct_credits_for_action($1, 'test_moving', 2)", user)));
        Assert.Equal(30, await db.Charges(user));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1 and kind = 'usage' and (amount <> -unit_price * quantity or unit_price not in (1, 2, 3))", user));
    }
}
