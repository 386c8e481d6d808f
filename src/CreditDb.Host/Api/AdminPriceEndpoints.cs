using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>What operators set: prices, plans and packages.</summary>
internal static class AdminPriceEndpoints
{
    public static void MapAdminPrices(this IEndpointRouteBuilder admin)
    {
        MapCosts(admin.MapGroup("/costs").WithTags("Prices"));
        MapPlans(admin.MapGroup("/plans").WithTags("Plans"));

        var packages = admin.MapGroup("/packages").WithTags("Packages");
        packages.MapGet("/", (Caller caller, CancellationToken ct) => CreditsEndpoints.PackagesAsync(caller, false, ct))
            .WithSummary("List the packages, also those that are not on sale");
        packages.MapPut("/{packageId}", (string packageId, PackageRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SetPackageAsync(
                    packageId, request.Credits, request.PriceMinor, request.Currency, request.PackageName, request.Features, request.IsActive, request.SortOrder, ct))
            .WithExample("""{ "packageName": "Small", "credits": 500, "priceMinor": 900, "currency": "EUR", "features": ["500 credits"], "isActive": true, "sortOrder": 1 }""")
            .WithSummary("Add a package, or change one")
            .WithDescription("What is left out stays; a new package needs credits, priceMinor and currency. Purchases that were begun keep their terms.");
    }

    private static void MapCosts(RouteGroupBuilder costs)
    {
        costs.MapGet("/", (Caller caller, CancellationToken ct) => CreditsEndpoints.CostsAsync(caller, false, ct))
            .WithSummary("The price list, with what is switched off");

        costs.MapGet("/{actionType}/changes", (string actionType, Caller caller, CancellationToken ct) => caller.Sql.RowsAsync(
                """
                select h.change_no, h.changed_at, h.changed_by, h.actor, h.is_deleted, h.action_name, trim_scale(h.cost_per_unit), h.unit_description,
                  h.credit_type, h.on_insufficient, h.is_active
                from credits.credit_cost_changes h
                where h.action_type = $1
                order by h.change_no desc
                limit 200
                """,
                null,
                r => new CostChange(
                    r.GetInt32(0), r.GetFieldValue<DateTimeOffset>(1), r.GetString(2), r.GetTextOrNull(3), r.GetBoolean(4), r.GetString(5), r.GetDecimal(6),
                    r.GetString(7), r.GetString(8), r.GetString(9), r.GetBoolean(10)),
                ct, actionType))
            .WithSummary("Every state that a price has had, newest first")
            .WithDescription("The last 200.");

        costs.MapPut("/{actionType}", (string actionType, CostRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SetCostAsync(
                    actionType, request.CostPerUnit, request.ActionName, request.UnitDescription, request.OnInsufficient, request.IsActive, request.CreditType,
                    request.UnitSeconds, ct))
            .WithExample("""{ "costPerUnit": 0.25, "actionName": "Translate a page", "unitDescription": "per page" }""")
            .WithProblems("action_renamed")
            .WithSummary("Add an action to the price list, or change one")
            .WithDescription("What is left out stays; a new action needs costPerUnit. History is never repriced.");
    }

    private static void MapPlans(RouteGroupBuilder plans)
    {
        plans.MapGet("/", async (Caller caller, CancellationToken ct) => new RawJson((string)(await caller.Sql.ScalarAsync(
                """
                select coalesce(json_agg(json_build_object(
                  'planId', p.plan_id,
                  'planName', p.plan_name,
                  'debtLimit', trim_scale(p.debt_limit),
                  'freeChatSeconds', p.free_chat_seconds,
                  'allowances', (
                    select coalesce(json_agg(json_build_object('creditType', a.credit_type, 'amount', trim_scale(a.amount), 'period', a.period) order by a.credit_type), '[]')
                    from credits.plan_allowances a where a.plan_id = p.plan_id),
                  'features', (
                    select coalesce(json_agg(json_build_object('actionType', f.action_type, 'isUnlimited', f.is_unlimited, 'costPerUnit', trim_scale(f.cost_per_unit),
                      'limitQuantity', trim_scale(f.limit_quantity), 'limitPeriod', f.limit_period) order by f.action_type), '[]')
                    from credits.plan_features f where f.plan_id = p.plan_id)) order by p.plan_id), '[]')::text
                from credits.plans p
                """, null, ct))!))
            .Produces<List<ListedPlan>>()
            .WithSummary("List the plans, with what they bring and what they say of actions");

        plans.MapPut("/{planId}", (string planId, PlanRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SetPlanAsync(planId, request.PlanName, request.DebtLimit, request.FreeChatSeconds, ct))
            .WithExample("""{ "planName": "Team", "debtLimit": 10, "freeChatSeconds": 60 }""")
            .WithSummary("Add a plan, or change one")
            .WithDescription("What is left out stays; a new plan needs a name.");

        plans.MapPut("/{planId}/allowances/{creditType}", (string planId, string creditType, AllowanceRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SetAllowanceAsync(planId, creditType, request.Amount!.Value, request.Period, ct))
            .WithExample("""{ "amount": 2000, "period": "month" }""")
            .WithSummary("Set what a plan brings of a credit type")
            .WithDescription("For accounts that open from now on, and for the others at their next reset; PUT …/accounts/{userId}/plan with the same plan brings it at once.");

        plans.MapDelete("/{planId}/allowances/{creditType}", (string planId, string creditType, Caller caller, CancellationToken ct) =>
                caller.Credits.SetAllowanceAsync(planId, creditType, null, null, ct))
            .WithSummary("End what a plan brings of a credit type");

        plans.MapPut("/{planId}/features/{actionType}", (string planId, string actionType, FeatureRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SetFeatureAsync(planId, actionType, request.IsUnlimited, request.CostPerUnit, request.LimitQuantity, request.LimitPeriod, ct))
            .WithExample("""{ "costPerUnit": 0.5, "limitQuantity": 100, "limitPeriod": "month" }""")
            .WithSummary("Say all that a plan says of an action")
            .WithDescription("The whole: what is left out is not said any more.");

        plans.MapDelete("/{planId}/features/{actionType}", (string planId, string actionType, Caller caller, CancellationToken ct) =>
                caller.Credits.SetFeatureAsync(planId, actionType, ct: ct))
            .WithSummary("Let the price list alone say what an action costs on a plan");
    }

    /// <param name="CostPerUnit">The price of a unit; 0 is free.</param>
    /// <param name="ActionName">As people read it.</param>
    /// <param name="UnitDescription">What a unit is.</param>
    /// <param name="OnInsufficient">What a charged table does with a row that cannot be paid: notify, reject or debt.</param>
    /// <param name="IsActive">Whether it can be charged.</param>
    /// <param name="CreditType">Which credits pay for it; for life.</param>
    /// <param name="UnitSeconds">How long a unit is, of what is metered by time.</param>
    internal sealed record CostRequest(
        decimal? CostPerUnit = null, string? ActionName = null, string? UnitDescription = null, string? OnInsufficient = null, bool? IsActive = null,
        string? CreditType = null, int? UnitSeconds = null);

    /// <param name="PackageName">As people read it.</param>
    /// <param name="Credits">The credits that it brings.</param>
    /// <param name="PriceMinor">The price in minor units of the currency.</param>
    /// <param name="Currency">ISO 4217.</param>
    /// <param name="Features">What it promises.</param>
    /// <param name="IsActive">Whether it is on sale.</param>
    /// <param name="SortOrder">Where it stands in the list.</param>
    internal sealed record PackageRequest(
        string? PackageName = null, decimal? Credits = null, long? PriceMinor = null, string? Currency = null, string[]? Features = null, bool? IsActive = null,
        int? SortOrder = null);

    /// <param name="PlanName">As people read it.</param>
    /// <param name="DebtLimit">How far actions with the policy debt may overdraw each wallet.</param>
    /// <param name="FreeChatSeconds">How much of a chat session costs nothing.</param>
    internal sealed record PlanRequest(string? PlanName = null, decimal? DebtLimit = null, int? FreeChatSeconds = null);

    /// <param name="Amount">How many.</param>
    /// <param name="Period">once, day or month; what it is unless given.</param>
    internal sealed record AllowanceRequest(decimal? Amount, string? Period = null);

    /// <param name="IsUnlimited">Whether it costs nothing and needs no credits.</param>
    /// <param name="CostPerUnit">The plan's own price; 0 is free.</param>
    /// <param name="LimitQuantity">How many priced units may be used in a period; 0 forbids the action.</param>
    /// <param name="LimitPeriod">day or month.</param>
    internal sealed record FeatureRequest(bool? IsUnlimited = null, decimal? CostPerUnit = null, decimal? LimitQuantity = null, string? LimitPeriod = null);

    /// <param name="ChangeNo">Its number, per action.</param>
    /// <param name="ChangedAt">When.</param>
    /// <param name="ChangedBy">By which database role.</param>
    /// <param name="Actor">On whose behalf.</param>
    /// <param name="IsDeleted">Whether the action was taken off the list.</param>
    /// <param name="ActionName">As people read it.</param>
    /// <param name="CostPerUnit">The price of a unit.</param>
    /// <param name="UnitDescription">What a unit is.</param>
    /// <param name="CreditType">Which credits pay for it.</param>
    /// <param name="OnInsufficient">notify, reject or debt.</param>
    /// <param name="IsActive">Whether it could be charged.</param>
    internal sealed record CostChange(
        int ChangeNo, DateTimeOffset ChangedAt, string ChangedBy, string? Actor, bool IsDeleted, string ActionName, decimal CostPerUnit, string UnitDescription,
        string CreditType, string OnInsufficient, bool IsActive);

    /// <param name="PlanId">Its id.</param>
    /// <param name="PlanName">As people read it.</param>
    /// <param name="DebtLimit">How far actions with the policy debt may overdraw each wallet.</param>
    /// <param name="FreeChatSeconds">How much of a chat session costs nothing.</param>
    /// <param name="Allowances">What it brings.</param>
    /// <param name="Features">What it says of actions.</param>
    internal sealed record ListedPlan(
        string PlanId, string PlanName, decimal DebtLimit, int FreeChatSeconds, IReadOnlyList<ListedAllowance> Allowances, IReadOnlyList<ListedFeature> Features);

    /// <param name="CreditType">Which credits.</param>
    /// <param name="Amount">How many.</param>
    /// <param name="Period">once, day or month.</param>
    internal sealed record ListedAllowance(string CreditType, decimal Amount, string Period);

    /// <param name="ActionType">The action.</param>
    /// <param name="IsUnlimited">Whether it costs nothing and needs no credits.</param>
    /// <param name="CostPerUnit">The plan's own price.</param>
    /// <param name="LimitQuantity">How many priced units may be used in a period.</param>
    /// <param name="LimitPeriod">day or month.</param>
    internal sealed record ListedFeature(string ActionType, bool IsUnlimited, decimal? CostPerUnit, decimal? LimitQuantity, string? LimitPeriod);
}
