using System.Text.Json.Nodes;

namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>Fails the purchases of up to limit users that are still pending at an age; a late payment completes them all the same. Returns how many, 0 when there are none left.</summary>
    public async Task<int> ExpirePurchasesAsync(TimeSpan age, int limit = 100, CancellationToken ct = default) =>
        (int)(await _sql.ScalarAsync("select credits.expire_purchases($1, $2)", null, ct, age, limit))!;

    /// <summary>Rolls up the usage of the next accounts of a sweep that all workers share. A new sweep begins every so often; null: as soon as the last one is complete.</summary>
    public async Task<SweepSlice> RollUpNextAsync(TimeSpan? every = null, int limit = 1000, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<SweepSlice>("select credits.roll_up_next($1, $2)", null, ct, every, limit));

    /// <summary>Proves the books of the next accounts of a sweep that all workers share, raises an alert for each discrepancy and closes those whose discrepancy is gone.</summary>
    public async Task<SweepSlice> VerifyNextAsync(TimeSpan? every = null, int limit = 200, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<SweepSlice>("select credits.verify_next($1, $2)", null, ct, every, limit));

    /// <summary>Raises alerts for hours of far more usage, or declines, than usual, among the next accounts of a sweep that all workers share.</summary>
    public async Task<SweepSlice> FindAnomaliesAsync(TimeSpan? every = null, int limit = 1000, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<SweepSlice>("select credits.find_anomalies($1, $2)", null, ct, every, limit));

    /// <summary>Deletes the expired idempotency keys of the next accounts of a sweep that all workers share.</summary>
    public async Task<SweepSlice> ForgetKeysAsync(TimeSpan? every = null, int limit = 1000, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<SweepSlice>("select credits.forget_keys($1, $2)", null, ct, every, limit));

    /// <summary>How late the worker's jobs are, and how many alerts are open; a purchase is late when it has been pending for longer than an age.</summary>
    public async Task<WorkerState> GetWorkerStateAsync(TimeSpan purchaseAge, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<WorkerState>("select credits.get_worker_state($1)", null, ct, purchaseAge));

    /// <summary>Alerts, the newest first: open ones (null: all; false: closed ones), of a kind, of a user. The next page begins before the last alert of this one.</summary>
    public Task<List<Alert>> ListAlertsAsync(
        bool? isOpen = true, string? kind = null, Guid? userId = null, Alert? before = null, int limit = 50, CancellationToken ct = default) =>
        _sql.RowsAsync(
            """
            select user_id, alert_id, kind, credit_type, subject, details, repeats, raised_at, closed_at, acknowledged_at, acknowledged_by, note
            from credits.list_alerts($1, $2, $3, $4, $5, $6)
            """,
            null,
            r => new Alert
            {
                UserId = r.GetGuid(0),
                AlertId = r.GetGuid(1),
                Kind = r.GetString(2),
                CreditType = r.GetString(3),
                Subject = r.GetString(4),
                Details = JsonNode.Parse(r.GetString(5))!.AsObject(),
                Repeats = r.GetInt32(6),
                RaisedAt = r.GetFieldValue<DateTimeOffset>(7),
                ClosedAt = r.IsDBNull(8) ? null : r.GetFieldValue<DateTimeOffset>(8),
                AcknowledgedAt = r.IsDBNull(9) ? null : r.GetFieldValue<DateTimeOffset>(9),
                AcknowledgedBy = r.IsDBNull(10) ? null : r.GetString(10),
                Note = r.IsDBNull(11) ? null : r.GetString(11),
            },
            ct, isOpen, kind, userId, before?.RaisedAt, before?.AlertId, limit);

    /// <summary>Records that somebody has seen an open alert of a user, or (null) all of them. A discrepancy stays open until it is gone.</summary>
    public async Task<AcknowledgedAlerts> AcknowledgeAlertAsync(Guid userId, Guid? alertId = null, string? note = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<AcknowledgedAlerts>("select credits.acknowledge_alert($1, $2, $3)", null, ct, userId, alertId, note));
}

/// <summary>A slice of the work of a job that goes through all users.</summary>
public sealed record SweepSlice : Outcome
{
    /// <summary>How much was done: entries rolled up, accounts verified, wallets looked at, keys deleted.</summary>
    public long Items { get; init; }

    /// <summary>Whether there is nothing to do any more: the sweep is complete, none is due, or another worker is just at it.</summary>
    public bool IsDone { get; init; }

    /// <summary>How many alerts were raised.</summary>
    public int Raised { get; init; }

    /// <summary>How many alerts were closed, because what they told of is gone.</summary>
    public int Closed { get; init; }

    /// <summary>The first 20 of the alerts that were raised.</summary>
    public IReadOnlyList<Alert> Alerts { get; init; } = [];
}

/// <summary>What an operator should look at.</summary>
public sealed record Alert
{
    /// <summary>Whom it is about; all zeros where it is about no user.</summary>
    public Guid UserId { get; init; }

    /// <summary>Its id.</summary>
    public Guid AlertId { get; init; }

    /// <summary>discrepancy, attachment, high_usage or many_declines.</summary>
    public string Kind { get; init; } = "";

    /// <summary>Whose wallet; empty where it is about no single wallet.</summary>
    public string CreditType { get; init; } = "";

    /// <summary>What is wrong, or the hour.</summary>
    public string Subject { get; init; } = "";

    /// <summary>What was found last, by kind.</summary>
    public JsonObject Details { get; init; } = [];

    /// <summary>How often it was raised.</summary>
    public int Repeats { get; init; } = 1;

    /// <summary>When it was raised last.</summary>
    public DateTimeOffset RaisedAt { get; init; }

    /// <summary>When it was over; null while it is open.</summary>
    public DateTimeOffset? ClosedAt { get; init; }

    /// <summary>When somebody acknowledged it.</summary>
    public DateTimeOffset? AcknowledgedAt { get; init; }

    /// <summary>Who did.</summary>
    public string? AcknowledgedBy { get; init; }

    /// <summary>What they said.</summary>
    public string? Note { get; init; }
}

/// <summary>How the worker's jobs stand.</summary>
public sealed record WorkerState : Outcome
{
    /// <summary>By job: the seconds by which the oldest thing that is due is late.</summary>
    public IReadOnlyDictionary<string, double> Lag { get; init; } = new Dictionary<string, double>();

    /// <summary>By kind: how many alerts are open.</summary>
    public IReadOnlyDictionary<string, long> OpenAlerts { get; init; } = new Dictionary<string, long>();
}

/// <summary>Alerts that somebody has seen.</summary>
public sealed record AcknowledgedAlerts : Outcome
{
    /// <summary>How many were acknowledged just now.</summary>
    public int Acknowledged { get; init; }
}
