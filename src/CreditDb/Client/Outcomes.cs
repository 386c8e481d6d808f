using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace CreditDb;

/// <summary>What every operation returns: whether it was done, and if not, why. Amounts are credits, with up to six decimals.</summary>
public record Outcome
{
    /// <summary>Whether the operation was done, now or (replayed) before.</summary>
    public bool Success { get; init; }

    /// <summary>ok, or why not: insufficient_credits, limit_reached, unknown_account, account_suspended, unknown_action, inactive_action, already_settled, not_found; in a batch also invalid_argument, key_reused, key_erased.</summary>
    public string Code { get; init; } = "";

    /// <summary>The code as a sentence; null on success.</summary>
    public string? Error { get; init; }
}

/// <summary>A charge, or why there is none.</summary>
public record Charge : Outcome
{
    /// <summary>What was charged for; null in a batch for a request that was malformed.</summary>
    public string? ActionType { get; init; }

    /// <summary>The action as people read it.</summary>
    public string? ActionName { get; init; }

    /// <summary>The price; null where there is none.</summary>
    public decimal? Required { get; init; }

    /// <summary>What could be spent before this charge; null without an account.</summary>
    public decimal? Available { get; init; }

    /// <summary>What was charged; 0 if nothing was.</summary>
    public decimal CreditsDeducted { get; init; }

    /// <summary>The balance before the charge.</summary>
    public decimal? BalanceBefore { get; init; }

    /// <summary>The balance after the charge.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>The number of the ledger entry, for a refund.</summary>
    public long? LogId { get; init; }

    /// <summary>Whether this is the stored result of an earlier call.</summary>
    public bool Replayed { get; init; }

    /// <summary>For limit_reached: how many priced units the plan allows in its period.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public decimal? Limit { get; init; }

    /// <summary>For limit_reached: how many of them are used.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public decimal? Used { get; init; }

    /// <summary>For limit_reached: day or month.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? LimitPeriod { get; init; }

    /// <summary>In a batch, for invalid_argument: the field.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Argument { get; init; }

    /// <summary>In a batch, for invalid_argument: what is wrong with it.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Problem { get; init; }
}

/// <summary>A chat message.</summary>
public record ChatMessage : Charge
{
    /// <summary>How many messages are left; null for no limit.</summary>
    public decimal? Remaining { get; init; }
}

/// <summary>A usage report: the charge of what succeeded, or the record of what did not.</summary>
public record TrackedUsage : Charge
{
    /// <summary>The record of a failed operation, which is never charged.</summary>
    public Guid? AttemptId { get; init; }
}

/// <summary>A request of <see cref="CreditClient.DeductBatchAsync"/>.</summary>
/// <param name="UserId">Who pays.</param>
/// <param name="ActionType">What for.</param>
/// <param name="Quantity">How many priced units.</param>
/// <param name="ReferenceId">What the charge belongs to; it deduplicates nothing.</param>
/// <param name="Metadata">Anything to keep with the entry, up to 16 KB.</param>
/// <param name="IdempotencyKey">Makes a repetition return the first result.</param>
public sealed record ChargeRequest(
    Guid UserId, string ActionType, decimal Quantity = 1, Guid? ReferenceId = null, JsonObject? Metadata = null, string? IdempotencyKey = null);

/// <summary>What a user can spend.</summary>
public sealed record Balance : Outcome
{
    /// <summary>What can be spent now: monthly, purchased and other credits. Held credits are not in it.</summary>
    public decimal Total { get; init; }

    /// <summary>What is left of the monthly allowance.</summary>
    public decimal Monthly { get; init; }

    /// <summary>What is left of purchased credits, which never expire.</summary>
    public decimal Purchased { get; init; }

    /// <summary>What is left of trial, promotional and other credits.</summary>
    public decimal Other { get; init; }

    /// <summary>What reservations hold.</summary>
    public decimal Held { get; init; }

    /// <summary>What was overdrawn, and is paid by the next credits.</summary>
    public decimal Debt { get; init; }

    /// <summary>What chat sessions owe, beside the balance.</summary>
    public decimal Owed { get; init; }

    /// <summary>When the allowance was last renewed.</summary>
    public DateTimeOffset? LastMonthlyReset { get; init; }

    /// <summary>When it is renewed next.</summary>
    public DateTimeOffset? NextMonthlyReset { get; init; }

    /// <summary>The number of the newest ledger entry.</summary>
    public long EntryNo { get; init; }

    /// <summary>Which credits: credits, chat_messages, …</summary>
    public string CreditType { get; init; } = "";
}

/// <summary>What the ledger stood at by a past moment.</summary>
public sealed record PastBalance : Outcome
{
    /// <summary>The balance then.</summary>
    public decimal Balance { get; init; }

    /// <summary>The number of the last entry then; 0 before the first.</summary>
    public long EntryNo { get; init; }

    /// <summary>When that was written.</summary>
    public DateTimeOffset? EntryAt { get; init; }
}

/// <summary>Whether a charge would succeed at this moment. A forecast: only the charge decides.</summary>
public sealed record ActionCheck
{
    /// <summary>Whether it would.</summary>
    public bool CanPerform { get; init; }

    /// <summary>ok, or the code that the charge would return.</summary>
    public string Code { get; init; } = "";

    /// <summary>The code as a sentence; null if it would succeed.</summary>
    public string? Reason { get; init; }

    /// <summary>The price; null where there is none.</summary>
    public decimal? CreditsNeeded { get; init; }

    /// <summary>What can be spent; null where the plan is unlimited.</summary>
    public decimal? CreditsRemaining { get; init; }

    /// <summary>How much is missing.</summary>
    public decimal? CreditsMissing { get; init; }

    /// <summary>How many priced units the plan allows in its period.</summary>
    public decimal? Limit { get; init; }

    /// <summary>How many of them are used.</summary>
    public decimal? LimitUsed { get; init; }

    /// <summary>The plan.</summary>
    public string? AccountLevel { get; init; }
}

/// <summary>A hold.</summary>
public sealed record Reservation : Charge
{
    /// <summary>Its id, for commit and release.</summary>
    public Guid ReservationId { get; init; }

    /// <summary>What is held.</summary>
    public decimal CreditsHeld { get; init; }

    /// <summary>When it lapses and gives the credits back.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>How many priced units are held.</summary>
    public decimal Quantity { get; init; }
}

/// <summary>The charge of a hold.</summary>
public sealed record CommittedReservation : Charge
{
    /// <summary>The hold.</summary>
    public Guid ReservationId { get; init; }

    /// <summary>How many priced units were charged.</summary>
    public decimal Quantity { get; init; }

    /// <summary>What was held and not used.</summary>
    public decimal CreditsReleased { get; init; }
}

/// <summary>The end of a hold without a charge.</summary>
public sealed record ReleasedReservation : Outcome
{
    /// <summary>What went back.</summary>
    public decimal CreditsReleased { get; init; }

    /// <summary>What of it expired at once, as its grant had expired.</summary>
    public decimal CreditsExpired { get; init; }

    /// <summary>The balance after it.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>Whether it was released, or had lapsed, before.</summary>
    public bool Replayed { get; init; }
}

/// <summary>A refund of a charge.</summary>
public sealed record Refund : Outcome
{
    /// <summary>What went back.</summary>
    public decimal CreditsRefunded { get; init; }

    /// <summary>What of it expired at once, as its grant had expired.</summary>
    public decimal CreditsExpired { get; init; }

    /// <summary>What is left of the charge to refund.</summary>
    public decimal Refundable { get; init; }

    /// <summary>The balance after it.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>The number of the refund's ledger entry.</summary>
    public long? RefundLogId { get; init; }

    /// <summary>Whether this is the stored result of an earlier call.</summary>
    public bool Replayed { get; init; }
}

/// <summary>The rows that were charged after all.</summary>
public sealed record ChargedRows : Outcome
{
    /// <summary>How many were charged.</summary>
    public int RowsCharged { get; init; }

    /// <summary>How many still stand without their charge.</summary>
    public int RowsLeft { get; init; }

    /// <summary>What was charged, per credit type.</summary>
    public IReadOnlyDictionary<string, decimal> Deducted { get; init; } = new Dictionary<string, decimal>();
}

/// <summary>A metered chat session as it stands.</summary>
public sealed record ChatSession : Outcome
{
    /// <summary>Its id.</summary>
    public Guid SessionId { get; init; }

    /// <summary>continue, warn (less than a minute left) or stop.</summary>
    public string Advice { get; init; } = "";

    /// <summary>How long it has run, in seconds.</summary>
    public int ElapsedSeconds { get; init; }

    /// <summary>How much of that may still be free.</summary>
    public int FreeSecondsLeft { get; init; }

    /// <summary>What free time and credits still cover, in seconds; null for ever.</summary>
    public long? SecondsLeft { get; init; }

    /// <summary>What this report charged.</summary>
    public decimal CreditsCharged { get; init; }

    /// <summary>What the session has cost so far.</summary>
    public decimal CreditsUsed { get; init; }

    /// <summary>What it owes, to be paid by the next credits.</summary>
    public decimal CreditsOwed { get; init; }

    /// <summary>Credits per interval; null until there is a price.</summary>
    public decimal? Rate { get; init; }

    /// <summary>The length of an interval.</summary>
    public int? IntervalSeconds { get; init; }

    /// <summary>What can be spent.</summary>
    public decimal? Available { get; init; }

    /// <summary>The balance after the report.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>Whether it was opened just now.</summary>
    public bool Opened { get; init; }
}

/// <summary>What can be bought.</summary>
public sealed record Package : Outcome
{
    /// <summary>Its id.</summary>
    public string PackageId { get; init; } = "";

    /// <summary>As people read it.</summary>
    public string PackageName { get; init; } = "";

    /// <summary>The credits that it brings.</summary>
    public decimal Credits { get; init; }

    /// <summary>The price in minor units of the currency.</summary>
    public long PriceMinor { get; init; }

    /// <summary>ISO 4217.</summary>
    public string Currency { get; init; } = "";

    /// <summary>What it promises.</summary>
    public IReadOnlyList<string> Features { get; init; } = [];

    /// <summary>Whether it is on sale.</summary>
    public bool IsActive { get; init; }

    /// <summary>Where it stands in the list.</summary>
    public int SortOrder { get; init; }
}

/// <summary>A purchase of a package.</summary>
public record Purchase : Outcome
{
    /// <summary>Its id.</summary>
    public Guid PurchaseId { get; init; }

    /// <summary>The package.</summary>
    public string PackageId { get; init; } = "";

    /// <summary>pending, paid, failed or refunded.</summary>
    public string Status { get; init; } = "";

    /// <summary>The credits that it brings.</summary>
    public decimal Credits { get; init; }

    /// <summary>The price in minor units of the currency.</summary>
    public long PriceMinor { get; init; }

    /// <summary>ISO 4217.</summary>
    public string Currency { get; init; } = "";

    /// <summary>What the package promised.</summary>
    public IReadOnlyList<string> Features { get; init; } = [];

    /// <summary>The payment provider.</summary>
    public string Provider { get; init; } = "";

    /// <summary>The provider's id of the payment; null until it is paid.</summary>
    public string? ProviderReference { get; init; }

    /// <summary>What was refunded of the price.</summary>
    public long RefundedMinor { get; init; }

    /// <summary>What was taken back of the credits.</summary>
    public decimal RefundedCredits { get; init; }

    /// <summary>Why the payment failed.</summary>
    public string? FailureReason { get; init; }

    /// <summary>The balance by the entry of this operation.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>The number of that entry.</summary>
    public long? LogId { get; init; }

    /// <summary>Whether this was done before.</summary>
    public bool Replayed { get; init; }
}

/// <summary>A refund or dispute of a purchase.</summary>
public sealed record PurchaseRefund : Purchase
{
    /// <summary>Its number within the purchase.</summary>
    public int RefundNo { get; init; }

    /// <summary>What was refunded, in minor units.</summary>
    public long AmountMinor { get; init; }

    /// <summary>The credits taken back: revoked + owing.</summary>
    public decimal CreditsTaken { get; init; }

    /// <summary>What was left of the grant, and is gone.</summary>
    public decimal Revoked { get; init; }

    /// <summary>What had been spent, and is now owed by the next purchase.</summary>
    public decimal Owing { get; init; }

    /// <summary>What can still be refunded.</summary>
    public long RefundableMinor { get; init; }

    /// <summary>Whether it is a dispute, which can be won.</summary>
    public bool IsDispute { get; init; }

    /// <summary>Whether it was.</summary>
    public bool Reinstated { get; init; }
}

/// <summary>What a user has used in the running period.</summary>
public sealed record UsageStats : Outcome
{
    /// <summary>Credits used, less refunds.</summary>
    public decimal Used { get; init; }

    /// <summary>The plan's allowance; null if it renews none.</summary>
    public decimal? Limit { get; init; }

    /// <summary>What can be spent now.</summary>
    public decimal Remaining { get; init; }

    /// <summary>Used of limit; null without a limit.</summary>
    public decimal? Percentage { get; init; }

    /// <summary>The period.</summary>
    public UsagePeriod? Period { get; init; }

    /// <summary>Per action, the most expensive first.</summary>
    public IReadOnlyList<ActionTotal> Totals { get; init; } = [];

    /// <summary>The plan.</summary>
    public string? AccountLevel { get; init; }
}

/// <summary>An allowance period.</summary>
/// <param name="Start">Its first moment.</param>
/// <param name="End">The first moment after it.</param>
/// <param name="Period">day or month.</param>
public sealed record UsagePeriod(DateTimeOffset Start, DateTimeOffset End, string Period);

/// <summary>What was used of one action.</summary>
/// <param name="ActionType">The action.</param>
/// <param name="ActionName">As people read it.</param>
/// <param name="Uses">How many charges.</param>
/// <param name="Quantity">How many priced units.</param>
/// <param name="Credits">What they cost, less refunds.</param>
public sealed record ActionTotal(string ActionType, string ActionName, long Uses, decimal Quantity, decimal Credits);

/// <summary>How one action is used: today, in the last 7 and in the last 30 days.</summary>
/// <param name="ActionType">The action.</param>
/// <param name="ActionName">As people read it.</param>
/// <param name="DailyUses">Uses today.</param>
/// <param name="WeeklyUses">Uses in the last 7 days.</param>
/// <param name="MonthlyUses">Uses in the last 30 days.</param>
/// <param name="DailyCredits">Credits today, less refunds.</param>
/// <param name="WeeklyCredits">Credits in the last 7 days.</param>
/// <param name="MonthlyCredits">Credits in the last 30 days.</param>
/// <param name="AverageCreditsPerAction">Credits per use in the 30 days; null without uses.</param>
public sealed record FeatureUsage(
    string ActionType, string ActionName, long DailyUses, long WeeklyUses, long MonthlyUses, decimal DailyCredits, decimal WeeklyCredits,
    decimal MonthlyCredits, decimal? AverageCreditsPerAction);

/// <summary>An account.</summary>
public sealed record Account : Outcome
{
    /// <summary>The user.</summary>
    public Guid UserId { get; init; }

    /// <summary>The plan.</summary>
    public string PlanId { get; init; } = "";

    /// <summary>The IANA zone that its periods are counted in.</summary>
    public string TimeZone { get; init; } = "";

    /// <summary>active, suspended or closed.</summary>
    public string Status { get; init; } = "";

    /// <summary>Whether it was opened just now.</summary>
    public bool Opened { get; init; }
}

/// <summary>A change of an account's status.</summary>
public sealed record StatusChange : Outcome
{
    /// <summary>active, suspended or closed.</summary>
    public string Status { get; init; } = "";

    /// <summary>What it was before.</summary>
    public string PreviousStatus { get; init; } = "";

    /// <summary>Whether that is something else.</summary>
    public bool Changed { get; init; }
}

/// <summary>A change of plan.</summary>
public sealed record PlanChange : Outcome
{
    /// <summary>The plan.</summary>
    public string PlanId { get; init; } = "";

    /// <summary>The plan before.</summary>
    public string PreviousPlanId { get; init; } = "";

    /// <summary>What was granted at once, per credit type.</summary>
    public IReadOnlyDictionary<string, decimal> Granted { get; init; } = new Dictionary<string, decimal>();
}

/// <summary>Credits that came, or (an adjustment below zero) went.</summary>
public sealed record Grant : Outcome
{
    /// <summary>Which credits.</summary>
    public string CreditType { get; init; } = "";

    /// <summary>monthly, purchased, trial, promotional, refund or adjustment.</summary>
    public string Source { get; init; } = "";

    /// <summary>How many.</summary>
    public decimal Amount { get; init; }

    /// <summary>The balance before.</summary>
    public decimal? BalanceBefore { get; init; }

    /// <summary>The balance after; what chat sessions owed is paid by then.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>The number of the ledger entry, which is the grant's number.</summary>
    public long? LogId { get; init; }

    /// <summary>Whether this is the stored result of an earlier call.</summary>
    public bool Replayed { get; init; }
}

/// <summary>A threshold for the notification low_balance.</summary>
public sealed record Threshold : Outcome
{
    /// <summary>The user is told when no more than this is left; null for never.</summary>
    [System.Text.Json.Serialization.JsonPropertyName("threshold")]
    public decimal? Amount { get; init; }

    /// <summary>What can be spent.</summary>
    public decimal Available { get; init; }
}

/// <summary>A price.</summary>
public sealed record Cost : Outcome
{
    /// <summary>The action.</summary>
    public string ActionType { get; init; } = "";

    /// <summary>As people read it.</summary>
    public string ActionName { get; init; } = "";

    /// <summary>Credits per priced unit.</summary>
    public decimal CostPerUnit { get; init; }

    /// <summary>What a unit is.</summary>
    public string UnitDescription { get; init; } = "";

    /// <summary>Which credits it costs.</summary>
    public string CreditType { get; init; } = "";

    /// <summary>What a trigger does with a row that cannot be paid: notify, reject or debt.</summary>
    public string OnInsufficient { get; init; } = "";

    /// <summary>Whether it can be bought.</summary>
    public bool IsActive { get; init; }

    /// <summary>For what is metered by time: how long a unit is.</summary>
    public int? UnitSeconds { get; init; }
}

/// <summary>A plan.</summary>
public sealed record Plan : Outcome
{
    /// <summary>Its id.</summary>
    public string PlanId { get; init; } = "";

    /// <summary>As people read it.</summary>
    public string PlanName { get; init; } = "";

    /// <summary>How far rows that are charged under the policy debt may overdraw.</summary>
    public decimal DebtLimit { get; init; }

    /// <summary>How many seconds of a chat session are free.</summary>
    public int FreeChatSeconds { get; init; }
}

/// <summary>What a plan brings of a credit type.</summary>
public sealed record PlanAllowance : Outcome
{
    /// <summary>Which credits.</summary>
    public string CreditType { get; init; } = "";

    /// <summary>How many per period; null if it was removed.</summary>
    public decimal? Amount { get; init; }

    /// <summary>once, day or month.</summary>
    public string? Period { get; init; }

    /// <summary>Whether this call removed it.</summary>
    public bool Removed { get; init; }
}

/// <summary>What a plan says of an action.</summary>
public sealed record PlanFeature : Outcome
{
    /// <summary>The action.</summary>
    public string ActionType { get; init; } = "";

    /// <summary>Whether it costs nothing.</summary>
    public bool IsUnlimited { get; init; }

    /// <summary>The plan's own price; null where that of the price list holds.</summary>
    public decimal? CostPerUnit { get; init; }

    /// <summary>How many priced units may be used in a period; null for no limit.</summary>
    public decimal? LimitQuantity { get; init; }

    /// <summary>day or month.</summary>
    public string? LimitPeriod { get; init; }

    /// <summary>Whether this call removed it.</summary>
    public bool Removed { get; init; }
}

/// <summary>A discrepancy that <see cref="CreditClient.VerifyLedgerAsync"/> found.</summary>
/// <param name="UserId">Whose books.</param>
/// <param name="CreditType">Which credits; null where it is about several.</param>
/// <param name="Problem">What disagrees.</param>
/// <param name="Expected">What it should be.</param>
/// <param name="Actual">What it is.</param>
public sealed record Discrepancy(Guid UserId, string? CreditType, string Problem, string? Expected, string? Actual);

/// <summary>How much personal data was erased.</summary>
public sealed record ErasedData : Outcome
{
    /// <summary>Ledger entries.</summary>
    public long Entries { get; init; }

    /// <summary>Idempotency keys, of which a hash stays.</summary>
    public long Keys { get; init; }

    /// <summary>Notifications.</summary>
    public long Notifications { get; init; }

    /// <summary>Reservations.</summary>
    public long Reservations { get; init; }

    /// <summary>Imported entries.</summary>
    public long Imported { get; init; }
}

/// <summary>A reset that was taken back.</summary>
public sealed record RolledBackReset : Outcome
{
    /// <summary>What was unspent, and is gone.</summary>
    public decimal Revoked { get; init; }

    /// <summary>What had been spent of it.</summary>
    public decimal WrittenOff { get; init; }

    /// <summary>What had expired with it, and is back.</summary>
    public decimal Restored { get; init; }

    /// <summary>The balance after it.</summary>
    public decimal? BalanceAfter { get; init; }
}

/// <summary>A balance taken over from another system.</summary>
public sealed record ImportedBalance : Outcome
{
    /// <summary>The monthly credits that were taken over.</summary>
    public decimal Monthly { get; init; }

    /// <summary>The purchased credits that were taken over.</summary>
    public decimal Purchased { get; init; }

    /// <summary>The balance before.</summary>
    public decimal? BalanceBefore { get; init; }

    /// <summary>The balance after.</summary>
    public decimal? BalanceAfter { get; init; }

    /// <summary>Whether it was done before.</summary>
    public bool Replayed { get; init; }
}

/// <summary>A history taken over from another system.</summary>
public sealed record ImportedHistory : Outcome
{
    /// <summary>How many entries are new.</summary>
    public int Imported { get; init; }

    /// <summary>How many were imported before.</summary>
    public int Known { get; init; }
}

/// <summary>A step of the roll-up.</summary>
public sealed record RolledUpUsage : Outcome
{
    /// <summary>How many entries were added.</summary>
    public long Entries { get; init; }

    /// <summary>Of how many wallets.</summary>
    public long Wallets { get; init; }

    /// <summary>Where to go on; null when the sweep is complete.</summary>
    public Guid? LastUserId { get; init; }
}

/// <summary>A step of the archiving.</summary>
public sealed record ArchivedEntries : Outcome
{
    /// <summary>How many entries were moved.</summary>
    public long Entries { get; init; }

    /// <summary>Of how many wallets; 0 when there are none left.</summary>
    public long Wallets { get; init; }
}
