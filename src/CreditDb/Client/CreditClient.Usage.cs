namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>What a user can spend, with what is due counted.</summary>
    public async Task<Balance> GetBalanceAsync(Guid userId, string creditType = "credits", CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Balance>("select credits.get_credit_balance($1, $2)", null, ct, userId, creditType));

    /// <summary>What the ledger stood at by a past moment.</summary>
    public async Task<PastBalance> GetBalanceAtAsync(Guid userId, DateTimeOffset at, string creditType = "credits", CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<PastBalance>("select credits.get_balance_at($1, $2, $3)", null, ct, userId, at, creditType));

    /// <summary>What a user has used in the running allowance period.</summary>
    public async Task<UsageStats> GetUsageStatsAsync(Guid userId, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<UsageStats>("select credits.get_usage_stats($1)", null, ct, userId));

    /// <summary>How a user uses each action, or one: today, in the last 7 and in the last 30 days.</summary>
    public Task<List<FeatureUsage>> GetFeatureUsageAsync(Guid userId, string? actionType = null, CancellationToken ct = default) =>
        _sql.RowsAsync(
            """
            select action_type, action_name, daily_uses, weekly_uses, monthly_uses, daily_credits, weekly_credits, monthly_credits, average_credits_per_action
            from credits.get_feature_usage($1, $2)
            """,
            null,
            r => new FeatureUsage(r.GetString(0), r.GetString(1), r.GetInt64(2), r.GetInt64(3), r.GetInt64(4), r.GetDecimal(5), r.GetDecimal(6),
                r.GetDecimal(7), r.IsDBNull(8) ? null : r.GetDecimal(8)),
            ct, userId, actionType);

    /// <summary>What the books of an account, or of all, disagree in: nothing, unless somebody changed them by hand.</summary>
    public Task<List<Discrepancy>> VerifyLedgerAsync(Guid? userId = null, CancellationToken ct = default) =>
        _sql.RowsAsync("select user_id, credit_type, problem, expected, actual from credits.verify_ledger($1)", null,
            r => new Discrepancy(r.GetGuid(0), r.IsDBNull(1) ? null : r.GetString(1), r.GetString(2), r.IsDBNull(3) ? null : r.GetString(3),
                r.IsDBNull(4) ? null : r.GetString(4)),
            ct, userId);
}
