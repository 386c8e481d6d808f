using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>Chat: messages of an allowance of their own, and sessions metered by time, which only a service opens and reports.</summary>
internal static class ChatEndpoints
{
    public static void MapChat(this IEndpointRouteBuilder api)
    {
        var chat = api.MapGroup("/chat").WithTags("Chat");
        chat.MapPost("/messages", (Message request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
            {
                caller.MaySpendOn("chat_message");
                return caller.Credits.DeductChatMessageAsync(caller.For(request.UserId), key.Value, ct);
            })
            .RequireAuthorization(AccessSetup.Spends)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa" }""")
            .WithProblems("insufficient_credits", "limit_reached", "account_suspended", "unknown_account", "unknown_action", "inactive_action", "key_reused")
            .WithSummary("Take one chat message")
            .WithDescription("remaining is how many are left; null where the plan does not limit them.");

        chat.MapPost("/sessions", async (OpenSession request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
                CreditClient.Done(await caller.Sql.JsonAsync<ChatSession>(
                    // A key makes the id of a session that the caller does not name, so that repeating the request finds it again.
                    "select credits.open_chat_session($1, coalesce($2::uuid, credits.uuid_v5($1, 'chat session ' || $3::text)), $4)",
                    request.SessionId?.ToString() ?? key.Value, ct, caller.For(request.UserId), request.SessionId, key.Value, request.FreeSeconds)))
            .RequireAuthorization(AccessSetup.Serves)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "freeSeconds": 60 }""")
            .WithSummary("Open a chat session that is metered by time")
            .WithDescription("Under sessionId or a new id; an open one is left as it is. The price is pinned now. freeSeconds defaults to the plan's.");

        chat.MapPost("/sessions/{sessionId:guid}/time", async (Guid sessionId, ReportTime request, Caller caller, CancellationToken ct) =>
            {
                var session = await caller.Credits.RecordChatTimeAsync(caller.For(request.UserId), sessionId, request.ElapsedSeconds!.Value, ct);
                return session.Code == "not_found" ? CreditClient.Done(session) : session;
            })
            .RequireAuthorization(AccessSetup.Serves)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "elapsedSeconds": 95 }""")
            .WithProblems("not_found")
            .WithSummary("Report how long a chat session has run")
            .WithDescription("elapsedSeconds is a running total: repeats and late reports charge nothing twice. 200 whether the time can be paid or not, as it is recorded: code and advice (continue, warn, stop) say it.");
    }

    /// <param name="UserId">Who writes; a user's token may leave it out.</param>
    internal sealed record Message(Guid? UserId = null);

    /// <param name="UserId">Who chats.</param>
    /// <param name="SessionId">The session's id; a new one unless given.</param>
    /// <param name="FreeSeconds">How much of it costs nothing; what the plan says unless given.</param>
    internal sealed record OpenSession(Guid? UserId, Guid? SessionId = null, int? FreeSeconds = null);

    /// <param name="UserId">Who chats.</param>
    /// <param name="ElapsedSeconds">How long the session has run so far.</param>
    internal sealed record ReportTime(Guid? UserId, int? ElapsedSeconds);
}
