using System.Globalization;

namespace CreditDb.Tests.Model;

/// <summary>The prices and plans of the property tests: the seed's, and some that the seed has no case of.</summary>
public static class World
{
    public static readonly Dictionary<string, Price> Prices = new()
    {
        ["create_agent"] = new("credits", 5),
        ["prompt_formatting"] = new("credits", 1),
        ["prompt_generation"] = new("credits", 2),
        ["generate_template"] = new("credits", 1, "reject"),
        ["send_email"] = new("credits", 0.5m),
        ["agent_call_runtime"] = new("credits", 1, "debt"),
        ["script_generation"] = new("credits", 1),
        ["voice_creation"] = new("credits", 5),
        ["video_processing"] = new("credits", 2),
        ["weekly_report"] = new("credits", 1),
        ["chat_time"] = new("credits", 0.25m),
        ["chat_message"] = new("chat_messages", 1),
    };

    public static IEnumerable<string> CreditTypes => Prices.Values.Select(p => p.CreditType).Distinct().Order(StringComparer.Ordinal);

    /// <summary>Small ones, so that what they bring is soon spent; and prices that divide the credits badly.</summary>
    public static readonly Dictionary<string, Package> Packages = new()
    {
        ["starter"] = new(25, 500, "USD"),
        ["sevenths"] = new(10, 7, "EUR"),
        ["speck"] = new(0.000002m, 3, "JPY"),
    };

    public static readonly string[] Zones =
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Auckland"];

    /// <summary>None limits chat time: when room for what a limit kept from being charged is found again, no contract says to the moment.</summary>
    public static readonly Dictionary<string, Plan> Plans = new Plan[]
    {
        new("free", 0, new() { ["credits"] = new(100, "month"), ["chat_messages"] = new(20, "once") }, Limits(3, 1, 2), 60),
        new("pro", 0, new() { ["credits"] = new(5000, "month") }, With(Limits(100, 20, 50), ("chat_message", new(IsUnlimited: true)))),
        new("paid", 20, [], new() { ["chat_message"] = new(IsUnlimited: true), ["chat_time"] = new(IsUnlimited: true) }),
        new("daily", 50, new() { ["credits"] = new(30, "day"), ["chat_messages"] = new(5, "day") }, new()
        {
            ["prompt_generation"] = new(Cost: 0.333333m),
            ["chat_time"] = new(Cost: 0.7m),
            ["create_agent"] = new(Cost: 4.5m),
            ["weekly_report"] = new(Limit: 2, LimitPeriod: "day"),
            ["script_generation"] = new(Limit: 4.5m, LimitPeriod: "month"),
            ["send_email"] = new(IsUnlimited: true),
        }),
        new("once", 7.5m, new() { ["credits"] = new(40, "once"), ["chat_messages"] = new(10, "month") }, new()
        {
            ["agent_call_runtime"] = new(Cost: 0.000001m),
            ["create_agent"] = new(Limit: 3, LimitPeriod: "month"),
        }),
    }.ToDictionary(p => p.Id);

    private static Dictionary<string, Terms> Limits(decimal scripts, decimal voices, decimal videos) => new()
    {
        ["script_generation"] = new(Limit: scripts, LimitPeriod: "month"),
        ["voice_creation"] = new(Limit: voices, LimitPeriod: "month"),
        ["video_processing"] = new(Limit: videos, LimitPeriod: "month"),
    };

    private static Dictionary<string, Terms> With(Dictionary<string, Terms> features, params (string Action, Terms Terms)[] more)
    {
        foreach (var (action, terms) in more)
            features[action] = terms;
        return features;
    }

    /// <summary>
    /// Makes the database this world, with a clock per session (test.clock). settle_due_wallets, in a session that names a user (test.user), sees that
    /// user's wallets only, so that sequences with clocks of their own can run side by side.
    /// </summary>
    public static IEnumerable<string> Setup()
    {
        yield return """
            create or replace function credits.clock_now() returns timestamptz language plpgsql volatile set search_path = pg_catalog, pg_temp
            as $$ begin return coalesce(nullif(current_setting('test.clock', true), '')::timestamptz, clock_timestamp()); end $$
            """;
        yield return """
            create policy test_user on credits.wallets to creditdb_owner
            using (nullif(current_setting('test.user', true), '') is null or user_id::text = current_setting('test.user', true))
            """;
        yield return "alter table credits.wallets force row level security";
        yield return "delete from credits.plan_features";
        yield return "delete from credits.plan_allowances";
        foreach (var (action, price) in Prices)
        {
            yield return $"update credits.credit_costs set cost_per_unit = {price.Cost.Sql()}, credit_type = '{price.CreditType}', on_insufficient = '{price.OnInsufficient}' "
                + $"where action_type = '{action}'";
        }
        foreach (var (id, package) in Packages)
            yield return $"select credits.set_package('{id}', {package.Credits.Sql()}, {package.PriceMinor}, '{package.Currency}')";
        foreach (var plan in Plans.Values)
        {
            yield return $"insert into credits.plans (plan_id, plan_name, debt_limit, free_chat_seconds) "
                + $"values ('{plan.Id}', '{plan.Id}', {plan.DebtLimit.Sql()}, {plan.FreeChatSeconds}) "
                + "on conflict (plan_id) do update set (debt_limit, free_chat_seconds) = (excluded.debt_limit, excluded.free_chat_seconds)";
            foreach (var (type, allowance) in plan.Allowances)
                yield return $"insert into credits.plan_allowances values ('{plan.Id}', '{type}', {allowance.Amount.Sql()}, '{allowance.Period}')";
            foreach (var (action, terms) in plan.Features)
            {
                yield return "insert into credits.plan_features (plan_id, action_type, is_unlimited, cost_per_unit, limit_quantity, limit_period) "
                    + $"values ('{plan.Id}', '{action}', {terms.IsUnlimited.Sql()}, {terms.Cost.Sql()}, {terms.Limit.Sql()}, {terms.LimitPeriod.Sql()})";
            }
        }
    }

    public static string Sql(this decimal value) => value.ToString("0.############", CultureInfo.InvariantCulture);

    public static string Sql(this decimal? value) => value?.Sql() ?? "null";

    public static string Sql(this string? value) => value is null ? "null" : $"'{value.Replace("'", "''", StringComparison.Ordinal)}'";

    public static string Sql(this Guid value) => $"'{value}'";

    public static string Sql(this Guid? value) => value is { } id ? id.Sql() : "null";

    public static string Sql(this DateTime value) => $"'{value.ToString("yyyy-MM-dd HH:mm:ss.ffffff", CultureInfo.InvariantCulture)}+00'";

    public static string Sql(this DateTime? value) => value?.Sql() ?? "null";

    public static string Sql(this int? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "null";

    public static string Sql(this long? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "null";

    public static string Sql(this bool value) => value ? "true" : "false";

    public static string Sql(this TimeSpan value) => $"'{value.TotalSeconds.ToString(CultureInfo.InvariantCulture)} seconds'";
}
