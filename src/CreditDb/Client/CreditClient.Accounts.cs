namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>The user id of somebody known by another id: the same UUIDv5 that credits.user_id_for makes.</summary>
    public async Task<Guid> GetUserIdAsync(string issuer, string subject, CancellationToken ct = default) =>
        (Guid)(await _sql.ScalarAsync("select credits.user_id_for($1, $2)", null, ct, issuer, subject))!;

    /// <summary>Opens an account on a plan, or leaves the one that is there as it is. The time zone is an IANA name.</summary>
    public async Task<Account> OpenAccountAsync(Guid userId, string planId = "free", string timeZone = "UTC", CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Account>("select credits.open_account($1, $2, $3)", userId.ToString(), ct, userId, planId, timeZone));

    /// <summary>Moves an account to another plan; an upgrade grants the difference at once.</summary>
    public async Task<PlanChange> ChangePlanAsync(Guid userId, string planId, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<PlanChange>("select credits.change_plan($1, $2)", null, ct, userId, planId));

    /// <summary>Declines every charge and hold until <see cref="ReactivateAccountAsync"/>.</summary>
    public async Task<StatusChange> SuspendAccountAsync(Guid userId, string? reason = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<StatusChange>("select credits.suspend_account($1, $2)", null, ct, userId, reason));

    /// <summary>Ends a suspension.</summary>
    public async Task<StatusChange> ReactivateAccountAsync(Guid userId, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<StatusChange>("select credits.reactivate_account($1)", null, ct, userId));

    /// <summary>Closes an account for good; its books stay.</summary>
    public async Task<StatusChange> CloseAccountAsync(Guid userId, string? reason = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<StatusChange>("select credits.close_account($1, $2)", null, ct, userId, reason));

    /// <summary>Erases what may be personal in a user's books; amounts and times stay.</summary>
    public async Task<ErasedData> EraseUserDataAsync(Guid userId, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ErasedData>("select credits.erase_user_data($1)", null, ct, userId));

    /// <summary>At how many credits left the user is told that they run low; null for never.</summary>
    public async Task<Threshold> SetThresholdAsync(Guid userId, decimal? amount, string creditType = "credits", CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Threshold>("select credits.set_threshold($1, $2, $3)", null, ct, userId, amount, creditType));

    /// <summary>Marks a notification as read, or (null) all of the user's; returns how many became read.</summary>
    public async Task<int> ReadNotificationsAsync(Guid userId, Guid? notificationId = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ReadNotifications>("select credits.read_notifications($1, $2)", null, ct, userId, notificationId)).Read;

    private sealed record ReadNotifications : Outcome
    {
        public int Read { get; init; }
    }
}
