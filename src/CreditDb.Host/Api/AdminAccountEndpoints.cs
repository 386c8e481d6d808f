using System.Text.Json.Nodes;
using CreditDb.Host.Access;
using Npgsql;
using NpgsqlTypes;

namespace CreditDb.Host.Api;

/// <summary>What operators do with accounts.</summary>
internal static class AdminAccountEndpoints
{
    public static void MapAdminAccounts(this IEndpointRouteBuilder admin)
    {
        var accounts = admin.MapGroup("/accounts").WithTags("Accounts");
        accounts.MapGet("/", async (Caller caller, string? search, Guid? after, CancellationToken ct, int limit = Page.Usual) =>
            {
                var (first, last) = IdsThatBegin(search);
                var rows = await ListAsync(caller, after ?? first, last, after, Page.Checked(limit) + 1L, ct);
                return new AccountPage(rows[..Math.Min(limit, rows.Count)], rows.Count > limit ? rows[limit - 1].UserId : null);
            })
            .WithSummary("List accounts by user id")
            .WithDescription("Up to 200 at a time: limit, and after, which is the nextAfter of the page before. search is a user id or its beginning.");

        accounts.MapGet("/{userId:guid}", async (Guid userId, Caller caller, CancellationToken ct) =>
                await FindAsync(caller, userId, ct) ?? throw new ProblemException(404, "unknown_account", $"There is no account for {userId}."))
            .WithProblems("unknown_account")
            .WithSummary("An account with its balances");

        accounts.MapGet("/{userId:guid}/balance", (Guid userId, Caller caller, DateTimeOffset at, CancellationToken ct, string creditType = "credits") =>
                caller.Credits.GetBalanceAtAsync(userId, at, creditType, ct))
            .WithProblems("unknown_account")
            .WithSummary("What the ledger of an account stood at by a past moment")
            .WithDescription("at is ISO 8601 with offset.");

        accounts.MapGet("/{userId:guid}/entries", async (Guid userId, Caller caller, long? before, CancellationToken ct, string creditType = "credits", int limit = Page.Usual) =>
            {
                var rows = await EntriesAsync(caller, userId, creditType, before ?? long.MaxValue, Page.Checked(limit) + 1L, ct);
                return new EntryPage(rows[..Math.Min(limit, rows.Count)], rows.Count > limit ? rows[limit - 1].EntryNo : null);
            })
            .WithSummary("The ledger of an account, newest first")
            .WithDescription("Up to 200 at a time: limit, and before, which is the nextBefore of the page before.");

        accounts.MapGet("/{userId:guid}/grants", async (Guid userId, Caller caller, long? before, CancellationToken ct, string creditType = "credits", int limit = Page.Usual) =>
            {
                var rows = await GrantsAsync(caller, userId, creditType, before ?? long.MaxValue, Page.Checked(limit) + 1L, ct);
                return new GrantPage(rows[..Math.Min(limit, rows.Count)], rows.Count > limit ? rows[limit - 1].GrantNo : null);
            })
            .WithSummary("Where the credits of an account came from, and what is left of them")
            .WithDescription("Newest first, up to 200 at a time: limit, and before, which is the nextBefore of the page before.");

        accounts.MapPost("/{userId:guid}/grants", (Guid userId, GrantRequest request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
                caller.Credits.GrantAsync(
                    userId, request.Amount!.Value, request.Source!, request.ExpiresAt, request.Priority, request.Reference, request.Metadata, key.Value,
                    request.CreditType ?? "credits", ct))
            .WithExample("""{ "amount": 50, "source": "promotional", "expiresAt": "2099-01-31T00:00:00Z", "reference": "spring campaign" }""")
            .WithProblems("unknown_account", "key_reused")
            .WithSummary("Grant credits");

        accounts.MapPost("/{userId:guid}/adjustments", (Guid userId, Adjustment request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
                caller.Credits.AdjustAsync(userId, request.Amount!.Value, request.Reason!, key.Value, request.CreditType ?? "credits", ct))
            .WithExample("""{ "amount": -2.5, "reason": "charged too little in May" }""")
            .WithProblems("insufficient_credits", "unknown_account", "key_reused")
            .WithSummary("Correct a balance, up or down");

        accounts.MapPut("/{userId:guid}/plan", (Guid userId, PlanOfAccount request, Caller caller, CancellationToken ct) =>
                caller.Credits.ChangePlanAsync(userId, request.PlanId!, ct))
            .WithExample("""{ "planId": "pro" }""")
            .WithProblems("unknown_account", "account_closed")
            .WithSummary("Move an account to another plan")
            .WithDescription("An upgrade grants the difference at once. The plan that it has brings what was added to the plan since.");

        accounts.MapPut("/{userId:guid}/threshold", (Guid userId, ThresholdRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SetThresholdAsync(userId, request.Amount, request.CreditType ?? "credits", ct))
            .WithExample("""{ "amount": 20 }""")
            .WithProblems("unknown_account")
            .WithSummary("At how many credits left the user is told")
            .WithDescription("Without an amount: never.");

        accounts.MapPost("/{userId:guid}/suspend", (Guid userId, StatusRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.SuspendAccountAsync(userId, request.Reason, ct))
            .WithExample("""{ "reason": "under review" }""")
            .WithProblems("unknown_account", "account_closed")
            .WithSummary("Decline every charge and hold of an account until it is reactivated");

        accounts.MapPost("/{userId:guid}/reactivate", (Guid userId, Caller caller, CancellationToken ct) => caller.Credits.ReactivateAccountAsync(userId, ct))
            .WithProblems("unknown_account", "account_closed")
            .WithSummary("End a suspension");

        accounts.MapPost("/{userId:guid}/close", (Guid userId, StatusRequest request, Caller caller, CancellationToken ct) =>
                caller.Credits.CloseAccountAsync(userId, request.Reason, ct))
            .WithExample("""{ "reason": "asked by the user" }""")
            .WithProblems("unknown_account")
            .WithSummary("Close an account for good; its books stay");

        accounts.MapPost("/{userId:guid}/erase", (Guid userId, Caller caller, CancellationToken ct) => caller.Credits.EraseUserDataAsync(userId, ct))
            .WithProblems("unknown_account")
            .WithSummary("Erase what may be personal in a user's books")
            .WithDescription("Amounts and times stay, and the books still add up. It cannot be undone.");

        accounts.MapPost("/{userId:guid}/resets/rollback", (Guid userId, RollbackReset request, Caller caller, CancellationToken ct) =>
                caller.Credits.RollbackResetAsync(userId, request.CreditType ?? "credits", request.PeriodStart!.Value, request.Reason!, ct))
            .WithExample("""{ "periodStart": "2026-02-01T00:00:00Z", "reason": "reset a day early" }""")
            .WithProblems("unknown_account", "already_settled", "not_the_running_period")
            .WithSummary("Take back the reset that began the running period")
            .WithDescription("periodStart is the balance's lastMonthlyReset.");

        admin.MapGet("/verify", VerifyAsync)
            .WithTags("Verification")
            .WithSummary("Prove the books of one user, or of all")
            .WithDescription("Every discrepancy that was found: an empty list, unless somebody changed the tables by hand. All users take a while.");
    }

    private static (Guid First, Guid Last) IdsThatBegin(string? search)
    {
        var digits = (search ?? "").Replace("-", "", StringComparison.Ordinal);
        if (digits.Length > 32 || !digits.All(char.IsAsciiHexDigit))
            throw new ProblemException(400, "invalid_argument", "search: must be a user id or its beginning.", "search");
        return (Guid.ParseExact(digits.PadRight(32, '0'), "N"), Guid.ParseExact(digits.PadRight(32, 'f'), "N"));
    }

    private static Task<List<ListedAccount>> ListAsync(Caller caller, Guid first, Guid last, Guid? after, long limit, CancellationToken ct) => caller.Sql.RowsAsync(
        """
        select a.user_id, a.plan_id, a.time_zone, a.status, a.status_reason, a.status_changed_at, a.total_minutes_used, a.created_at
        from credits.accounts a
        where a.user_id >= $1 and a.user_id <= $2 and a.user_id is distinct from $3
        order by a.user_id
        limit $4
        """,
        null,
        r => new ListedAccount(
            r.GetGuid(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetTextOrNull(4), r.GetFieldValue<DateTimeOffset?>(5), r.GetInt64(6),
            r.GetFieldValue<DateTimeOffset>(7)),
        ct, first, last, after, limit);

    private static async Task<AccountWithBalances?> FindAsync(Caller caller, Guid user, CancellationToken ct)
    {
        var found = await caller.Sql.RowsAsync(
            """
            select a.user_id, a.plan_id, a.time_zone, a.status, a.status_reason, a.status_changed_at, a.total_minutes_used, a.created_at,
              array(select credits.get_credit_balance(w.user_id, w.credit_type)::text from credits.wallets w where w.user_id = a.user_id order by w.credit_type)
            from credits.accounts a
            where a.user_id = $1
            """,
            null,
            r => new AccountWithBalances(
                r.GetGuid(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetTextOrNull(4), r.GetFieldValue<DateTimeOffset?>(5), r.GetInt64(6),
                r.GetFieldValue<DateTimeOffset>(7),
                [.. r.GetFieldValue<string[]>(8).Select(b => System.Text.Json.JsonSerializer.Deserialize<Balance>(b, SqlCaller.Json)!)]),
            ct, user);
        return found.SingleOrDefault();
    }

    private static Task<List<Entry>> EntriesAsync(Caller caller, Guid user, string creditType, long before, long limit, CancellationToken ct) => caller.Sql.RowsAsync(
        """
        select e.entry_no, e.created_at, e.kind, trim_scale(e.amount), trim_scale(e.balance_after), e.action_type, trim_scale(e.unit_price), trim_scale(e.quantity),
          e.grant_no, e.allocations::text, e.row_source, e.row_id, e.reference_id, e.reference, e.related_entry_no, e.duration_seconds, e.actor, e.metadata::text
        from credits.credit_entries e
        where e.user_id = $1 and e.credit_type = $2 and e.entry_no < $3
        order by e.entry_no desc
        limit $4
        """,
        null,
        r => new Entry(
            r.GetInt64(0), r.GetFieldValue<DateTimeOffset>(1), r.GetString(2), r.GetDecimal(3), r.GetDecimal(4), r.GetTextOrNull(5),
            r.GetFieldValue<decimal?>(6), r.GetFieldValue<decimal?>(7), r.GetFieldValue<long?>(8), r.IsDBNull(9) ? null : new RawJson(r.GetString(9)),
            r.GetTextOrNull(10), r.GetTextOrNull(11), r.GetFieldValue<Guid?>(12), r.GetTextOrNull(13), r.GetFieldValue<long?>(14),
            r.GetFieldValue<int?>(15), r.GetTextOrNull(16), new RawJson(r.GetString(17))),
        ct, user, creditType, before, limit);

    private static Task<List<ListedGrant>> GrantsAsync(Caller caller, Guid user, string creditType, long before, long limit, CancellationToken ct) => caller.Sql.RowsAsync(
        """
        select g.grant_no, g.source, trim_scale(g.amount), trim_scale(g.remaining), g.priority, g.expires_at, g.created_at
        from credits.credit_grants g
        where g.user_id = $1 and g.credit_type = $2 and g.grant_no < $3
        order by g.grant_no desc
        limit $4
        """,
        null,
        r => new ListedGrant(
            r.GetInt64(0), r.GetString(1), r.GetDecimal(2), r.GetDecimal(3), r.GetInt32(4), r.GetFieldValue<DateTimeOffset?>(5), r.GetFieldValue<DateTimeOffset>(6)),
        ct, user, creditType, before, limit);

    /// <summary>Without the time limit of other statements: all the books of a large database take minutes.</summary>
    private static async Task<List<Discrepancy>> VerifyAsync(NpgsqlDataSource source, Guid? userId, CancellationToken ct)
    {
        await using var command = source.CreateCommand("select user_id, credit_type, problem, expected, actual from credits.verify_ledger($1)");
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = userId ?? (object)DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        await using var reader = await command.ExecuteReaderAsync(ct);
        var found = new List<Discrepancy>();
        while (await reader.ReadAsync(ct))
        {
            found.Add(new Discrepancy(
                reader.GetGuid(0), reader.GetTextOrNull(1), reader.GetString(2), reader.GetTextOrNull(3), reader.GetTextOrNull(4)));
        }

        return found;
    }

    /// <param name="Amount">How many credits.</param>
    /// <param name="Source">monthly, purchased, trial, promotional, refund or adjustment.</param>
    /// <param name="ExpiresAt">When what is left of it expires; never unless given.</param>
    /// <param name="Priority">0 to 1000; the lower, the sooner it is spent.</param>
    /// <param name="Reference">What for, up to 255 characters.</param>
    /// <param name="Metadata">Anything to keep with the entry, up to 16 KB.</param>
    /// <param name="CreditType">Which credits: credits unless given.</param>
    internal sealed record GrantRequest(
        decimal? Amount, string? Source, DateTimeOffset? ExpiresAt = null, int? Priority = null, string? Reference = null, JsonObject? Metadata = null,
        string? CreditType = null);

    /// <param name="Amount">How many credits to add, or (below zero) to take.</param>
    /// <param name="Reason">Why, up to 255 characters; kept in the entry.</param>
    /// <param name="CreditType">Which credits: credits unless given.</param>
    internal sealed record Adjustment(decimal? Amount, string? Reason, string? CreditType = null);

    /// <param name="PlanId">The plan.</param>
    internal sealed record PlanOfAccount(string? PlanId);

    /// <param name="Amount">The user is told when no more is left; null for never.</param>
    /// <param name="CreditType">Which credits: credits unless given.</param>
    internal sealed record ThresholdRequest(decimal? Amount = null, string? CreditType = null);

    /// <param name="Reason">Why, up to 255 characters.</param>
    internal sealed record StatusRequest(string? Reason = null);

    /// <param name="PeriodStart">The moment of the reset: the balance's lastMonthlyReset.</param>
    /// <param name="Reason">Why, up to 255 characters.</param>
    /// <param name="CreditType">Which credits: credits unless given.</param>
    internal sealed record RollbackReset(DateTimeOffset? PeriodStart, string? Reason, string? CreditType = null);

    /// <param name="UserId">The user.</param>
    /// <param name="PlanId">The plan.</param>
    /// <param name="TimeZone">The IANA zone that its periods are counted in.</param>
    /// <param name="Status">active, suspended or closed.</param>
    /// <param name="StatusReason">Why.</param>
    /// <param name="StatusChangedAt">Since when.</param>
    /// <param name="TotalMinutesUsed">Minutes of calls.</param>
    /// <param name="CreatedAt">When it was opened.</param>
    internal sealed record ListedAccount(
        Guid UserId, string PlanId, string TimeZone, string Status, string? StatusReason, DateTimeOffset? StatusChangedAt, long TotalMinutesUsed, DateTimeOffset CreatedAt);

    /// <param name="Accounts">By user id.</param>
    /// <param name="NextAfter">For the next page; null on the last.</param>
    internal sealed record AccountPage(IReadOnlyList<ListedAccount> Accounts, Guid? NextAfter);

    /// <param name="UserId">The user.</param>
    /// <param name="PlanId">The plan.</param>
    /// <param name="TimeZone">The IANA zone that its periods are counted in.</param>
    /// <param name="Status">active, suspended or closed.</param>
    /// <param name="StatusReason">Why.</param>
    /// <param name="StatusChangedAt">Since when.</param>
    /// <param name="TotalMinutesUsed">Minutes of calls.</param>
    /// <param name="CreatedAt">When it was opened.</param>
    /// <param name="Balances">One per credit type.</param>
    internal sealed record AccountWithBalances(
        Guid UserId, string PlanId, string TimeZone, string Status, string? StatusReason, DateTimeOffset? StatusChangedAt, long TotalMinutesUsed,
        DateTimeOffset CreatedAt, IReadOnlyList<Balance> Balances);

    /// <param name="EntryNo">Its number, without gaps.</param>
    /// <param name="CreatedAt">When.</param>
    /// <param name="Kind">grant, usage, hold, release, refund, expiry, revocation, adjustment or debt.</param>
    /// <param name="Amount">What it changed the balance by.</param>
    /// <param name="BalanceAfter">The balance after.</param>
    /// <param name="ActionType">What was charged.</param>
    /// <param name="UnitPrice">The price of a unit.</param>
    /// <param name="Quantity">How many units.</param>
    /// <param name="GrantNo">The one grant that it came from or went to.</param>
    /// <param name="Allocations">The grants, where there are several.</param>
    /// <param name="RowSource">The charged table's name.</param>
    /// <param name="RowId">The charged row.</param>
    /// <param name="ReferenceId">What it belongs to.</param>
    /// <param name="Reference">What for.</param>
    /// <param name="RelatedEntryNo">The entry that it is about.</param>
    /// <param name="DurationSeconds">How long a call took.</param>
    /// <param name="Actor">Who did it.</param>
    /// <param name="Metadata">What the caller kept with it.</param>
    internal sealed record Entry(
        long EntryNo, DateTimeOffset CreatedAt, string Kind, decimal Amount, decimal BalanceAfter, string? ActionType, decimal? UnitPrice, decimal? Quantity,
        long? GrantNo, RawJson? Allocations, string? RowSource, string? RowId, Guid? ReferenceId, string? Reference, long? RelatedEntryNo, int? DurationSeconds,
        string? Actor, RawJson Metadata);

    /// <param name="Entries">The newest first.</param>
    /// <param name="NextBefore">For the next page; null on the last.</param>
    internal sealed record EntryPage(IReadOnlyList<Entry> Entries, long? NextBefore);

    /// <param name="GrantNo">The number of its entry.</param>
    /// <param name="Source">monthly, purchased, trial, promotional, refund or adjustment.</param>
    /// <param name="Amount">What it was.</param>
    /// <param name="Remaining">What is left of it.</param>
    /// <param name="Priority">The lower, the sooner it is spent.</param>
    /// <param name="ExpiresAt">When the rest expires; null: never.</param>
    /// <param name="CreatedAt">When it came.</param>
    internal sealed record ListedGrant(long GrantNo, string Source, decimal Amount, decimal Remaining, int Priority, DateTimeOffset? ExpiresAt, DateTimeOffset CreatedAt);

    /// <param name="Grants">The newest first.</param>
    /// <param name="NextBefore">For the next page; null on the last.</param>
    internal sealed record GrantPage(IReadOnlyList<ListedGrant> Grants, long? NextBefore);
}
