using System.Text.Json;
using System.Text.Json.Nodes;
using System.Transactions;

namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>Charges an action at the price of credit_costs, or throws <see cref="InsufficientCreditsException"/> and the like.</summary>
    public async Task<Charge> DeductAsync(
        Guid userId, string actionType, decimal quantity = 1, Guid? referenceId = null, JsonObject? metadata = null, string? idempotencyKey = null,
        CancellationToken ct = default) =>
        Done(await TryDeductAsync(userId, actionType, quantity, referenceId, metadata, idempotencyKey, ct));

    /// <summary>
    /// Charges an action at the price of credit_costs, or says why not. Calls that are made at the same time are charged together, each by itself: with its own
    /// outcome, idempotency and cancellation (which ends the waiting; a charge that is under way may still be made).
    /// </summary>
    public Task<Charge> TryDeductAsync(
        Guid userId, string actionType, decimal quantity = 1, Guid? referenceId = null, JsonObject? metadata = null, string? idempotencyKey = null,
        CancellationToken ct = default)
    {
        var request = new ChargeRequest(userId, actionType, quantity, referenceId, metadata, idempotencyKey);
        return _lanes is null || Transaction.Current is not null ? _sql.ChargeAsync(request, ct) : _lanes.ChargeAsync(request, _sql, ct);
    }

    /// <summary>Charges up to 10,000 requests as if one after the other; one outcome per request, in order. Declines and malformed requests are outcomes, not exceptions.</summary>
    public Task<List<Charge>> DeductBatchAsync(IEnumerable<ChargeRequest> requests, CancellationToken ct = default)
    {
        var all = requests.ToList();
        return _sql.ChargeTogetherAsync(JsonSerializer.SerializeToUtf8Bytes(all, SqlCaller.Json), all.TrueForAll(r => r.IdempotencyKey is not null), waits: true, ct);
    }

    /// <summary>Charges a call by its started minutes, once whoever charges it; throws when it is declined.</summary>
    public async Task<Charge> DeductCallAsync(Guid userId, Guid callId, int durationSeconds, JsonObject? costBreakdown = null, CancellationToken ct = default) =>
        Done(await TryDeductCallAsync(userId, callId, durationSeconds, costBreakdown, ct));

    /// <summary>Charges a call by its started minutes, once whoever charges it, or says why not.</summary>
    public Task<Charge> TryDeductCallAsync(Guid userId, Guid callId, int durationSeconds, JsonObject? costBreakdown = null, CancellationToken ct = default) =>
        _sql.JsonAsync<Charge>("select credits.deduct_call_credits($1, $2, $3, $4)", callId.ToString(), ct, userId, callId, durationSeconds, costBreakdown ?? []);

    /// <summary>Charges sending one e-mail; throws when it is declined.</summary>
    public async Task<Charge> DeductEmailSendAsync(
        Guid userId, Guid? emailId = null, JsonObject? metadata = null, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Charge>("select credits.deduct_credits_for_email_send($1, $2, $3, $4)", idempotencyKey, ct,
            userId, emailId, metadata ?? [], idempotencyKey));

    /// <summary>Charges formatting one prompt; throws when it is declined.</summary>
    public async Task<Charge> DeductPromptFormattingAsync(
        Guid userId, Guid? promptId = null, JsonObject? metadata = null, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Charge>("select credits.deduct_credits_for_prompt_formatting($1, $2, $3, $4)", idempotencyKey, ct,
            userId, promptId, metadata ?? [], idempotencyKey));

    /// <summary>Charges generating one prompt; throws when it is declined.</summary>
    public async Task<Charge> DeductPromptGenerationAsync(
        Guid userId, Guid? promptId = null, JsonObject? metadata = null, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Charge>("select credits.deduct_credits_for_prompt_generation($1, $2, $3, $4)", idempotencyKey, ct,
            userId, promptId, metadata ?? [], idempotencyKey));

    /// <summary>Charges an import of e-mails by the started hundred; throws when it is declined.</summary>
    public async Task<Charge> DeductEmailImportBatchAsync(
        Guid userId, int emailCount, JsonObject? metadata = null, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Charge>("select credits.deduct_credits_for_email_import_batch($1, $2, $3, $4)", idempotencyKey, ct,
            userId, emailCount, metadata ?? [], idempotencyKey));

    /// <summary>Takes one chat message, or throws <see cref="InsufficientChatMessagesException"/>.</summary>
    public async Task<ChatMessage> DeductChatMessageAsync(Guid userId, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await TryDeductChatMessageAsync(userId, idempotencyKey, ct));

    /// <summary>Takes one chat message, or says why not.</summary>
    public Task<ChatMessage> TryDeductChatMessageAsync(Guid userId, string? idempotencyKey = null, CancellationToken ct = default) =>
        _sql.JsonAsync<ChatMessage>("select credits.deduct_chat_message($1, $2)", idempotencyKey, ct, userId, idempotencyKey);

    /// <summary>Reports an operation that was carried out, and charges it if it succeeded (usage: success, service, tokensUsed, responseTime, timestamp, metadata).</summary>
    public Task<TrackedUsage> TrackAsync(Guid userId, string operation, JsonObject usage, string? idempotencyKey = null, CancellationToken ct = default) =>
        _sql.JsonAsync<TrackedUsage>("select credits.track_usage_and_deduct_credits($1, $2, $3, $4)", idempotencyKey, ct, userId, operation, usage, idempotencyKey);

    /// <summary>Whether a charge would succeed at this moment. A forecast: only the charge decides.</summary>
    public Task<ActionCheck> CanPerformAsync(Guid userId, string actionType, decimal quantity = 1, CancellationToken ct = default) =>
        _sql.JsonAsync<ActionCheck>("select credits.can_perform_action($1, $2, $3)", null, ct, userId, actionType, quantity);

    /// <summary>Charges the rows that stand without their charge, as far as the credits reach.</summary>
    public async Task<ChargedRows> ChargeUnchargedAsync(Guid userId, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ChargedRows>("select credits.charge_uncharged($1)", null, ct, userId));

    /// <summary>Gives back a charge or a part of it (null: all that is left) to where it came from; throws when there is no such charge, or not so much left of it.</summary>
    public async Task<Refund> RefundAsync(
        Guid userId, long logId, decimal? amount = null, string? reason = null, string? idempotencyKey = null, string creditType = "credits",
        CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Refund>("select credits.refund_credits($1, $2, $3, $4, $5, $6)", idempotencyKey, ct,
            userId, logId, amount, reason, idempotencyKey, creditType));
}
