using System.Text.Json.Nodes;

namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>Grants credits of a source: monthly, purchased, trial, promotional, refund or adjustment.</summary>
    public async Task<Grant> GrantAsync(
        Guid userId, decimal amount, string source, DateTimeOffset? expiresAt = null, int? priority = null, string? reference = null, JsonObject? metadata = null,
        string? idempotencyKey = null, string creditType = "credits", CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Grant>("select credits.grant_credits($1, $2, $3, $4, $5, $6, $7, $8, $9)", idempotencyKey, ct,
            userId, amount, source, expiresAt, priority, reference, metadata ?? [], idempotencyKey, creditType));

    /// <summary>Grants purchased credits, which never expire.</summary>
    public async Task<Grant> AddPurchasedCreditsAsync(
        Guid userId, decimal amount, string? reference = null, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Grant>("select credits.add_purchased_credits($1, $2, $3, $4)", idempotencyKey, ct, userId, amount, reference, idempotencyKey));

    /// <summary>Corrects a balance by hand, up or down, for a reason that is kept.</summary>
    public async Task<Grant> AdjustAsync(
        Guid userId, decimal amount, string reason, string? idempotencyKey = null, string creditType = "credits", CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Grant>("select credits.adjust_credits($1, $2, $3, $4, $5)", idempotencyKey, ct, userId, amount, reason, idempotencyKey, creditType));

    /// <summary>Adds an action to the price list or changes one; what is null stays.</summary>
    public async Task<Cost> SetCostAsync(
        string actionType, decimal? costPerUnit = null, string? actionName = null, string? unitDescription = null, string? onInsufficient = null,
        bool? isActive = null, string? creditType = null, int? unitSeconds = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Cost>("select credits.set_cost($1, $2, $3, $4, $5, $6, $7, $8)", null, ct,
            actionType, costPerUnit, actionName, unitDescription, onInsufficient, isActive, creditType, unitSeconds));

    /// <summary>Takes back the reset that began the running period.</summary>
    public async Task<RolledBackReset> RollbackResetAsync(
        Guid userId, string creditType, DateTimeOffset periodStart, string reason, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<RolledBackReset>("select credits.rollback_reset($1, $2, $3, $4)", null, ct, userId, creditType, periodStart, reason));

    /// <summary>Takes over the balance that a user had before the engine, once.</summary>
    public async Task<ImportedBalance> ImportBalanceAsync(Guid userId, decimal? monthly, decimal? purchased, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ImportedBalance>("select credits.import_balance($1, $2, $3)", userId.ToString(), ct, userId, monthly, purchased));

    /// <summary>Lists usage from before the engine in credit_usage_logs; each entry (id, action_type, amount_used, created_at, …) once.</summary>
    public async Task<ImportedHistory> ImportHistoryAsync(Guid userId, JsonArray entries, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ImportedHistory>("select credits.import_history($1, $2)", userId.ToString(), ct, userId, entries));

    /// <summary>Applies what has fallen due in up to limit idle wallets; returns how many, 0 when there are none left.</summary>
    public async Task<int> SettleDueWalletsAsync(int limit = 1000, CancellationToken ct = default) =>
        (int)(await _sql.ScalarAsync("select credits.settle_due_wallets($1)", null, ct, limit))!;

    /// <summary>Tells users of credits that expire soon; returns how many were told, 0 when there are none left.</summary>
    public async Task<int> NotifyExpiringAsync(TimeSpan within, int limit = 1000, CancellationToken ct = default) =>
        (int)(await _sql.ScalarAsync("select credits.notify_expiring($1, $2)", null, ct, within, limit))!;

    /// <summary>Adds what is new in the ledger to the roll-ups; pass <see cref="RolledUpUsage.LastUserId"/> on until it is null.</summary>
    public async Task<RolledUpUsage> RollUpUsageAsync(Guid? after = null, int limit = 1000, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<RolledUpUsage>("select credits.roll_up_usage($1, $2)", null, ct, after, limit));

    /// <summary>Moves old entries of up to limit wallets into the archive.</summary>
    public async Task<ArchivedEntries> ArchiveLedgerAsync(DateTimeOffset before, int limit = 1000, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ArchivedEntries>("select credits.archive_ledger($1, $2)", null, ct, before, limit));

    /// <summary>Adds a plan or changes one; what is null stays. A new plan needs a name.</summary>
    public async Task<Plan> SetPlanAsync(
        string planId, string? planName = null, decimal? debtLimit = null, int? freeChatSeconds = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Plan>("select credits.set_plan($1, $2, $3, $4)", null, ct,
            planId, planName, debtLimit, freeChatSeconds));

    /// <summary>What a plan brings of a credit type per period (once, day or month); null removes it. Holds from the next reset on, or at once by <see cref="ChangePlanAsync"/> to the same plan.</summary>
    public async Task<PlanAllowance> SetAllowanceAsync(string planId, string creditType, decimal? amount, string? period = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<PlanAllowance>("select credits.set_allowance($1, $2, $3, $4)", null, ct, planId, creditType, amount, period));

    /// <summary>All that a plan says of an action: unlimited, a price of its own, a limit per day or month. What is not given is not said any more.</summary>
    public async Task<PlanFeature> SetFeatureAsync(
        string planId, string actionType, bool? isUnlimited = null, decimal? costPerUnit = null, decimal? limitQuantity = null, string? limitPeriod = null,
        CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<PlanFeature>("select credits.set_feature($1, $2, $3, $4, $5, $6)", null, ct,
            planId, actionType, isUnlimited, costPerUnit, limitQuantity, limitPeriod));
}
