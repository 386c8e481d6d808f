namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>Opens a metered chat session, or returns the one that is open under this id; free seconds default to the plan's.</summary>
    public async Task<ChatSession> OpenChatSessionAsync(Guid userId, Guid? sessionId = null, int? freeSeconds = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ChatSession>("select credits.open_chat_session($1, $2, $3)", sessionId?.ToString(), ct, userId, sessionId, freeSeconds));

    /// <summary>
    /// Reports how long a session has run, as a running total: repeats and late reports charge nothing twice. The time is recorded whether it can be paid or
    /// not, so this never throws for a decline: see <see cref="ChatSession.Advice"/>.
    /// </summary>
    public Task<ChatSession> RecordChatTimeAsync(Guid userId, Guid sessionId, int elapsedSeconds, CancellationToken ct = default) =>
        _sql.JsonAsync<ChatSession>("select credits.record_chat_time($1, $2, $3)", sessionId.ToString(), ct, userId, sessionId, elapsedSeconds);
}
