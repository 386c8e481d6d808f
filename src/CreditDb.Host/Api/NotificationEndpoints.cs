using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>What users are told.</summary>
internal static class NotificationEndpoints
{
    public static void MapNotifications(this IEndpointRouteBuilder api)
    {
        var notifications = api.MapGroup("/notifications").WithTags("Notifications").RequireAuthorization(AccessSetup.Reads);
        notifications.MapGet("/", async (Caller caller, Guid? userId, Guid? before, CancellationToken ct, bool unread = false, int limit = Page.Usual) =>
            {
                var rows = await ListAsync(caller, caller.For(userId), unread, before, Page.Checked(limit) + 1, ct);
                return new NotificationPage(rows[..Math.Min(limit, rows.Count)], rows.Count > limit ? rows[limit - 1].NotificationId : null);
            })
            .WithSummary("What a user was told, newest first")
            .WithDescription("Up to 200 at a time: limit, and before, which is the nextBefore of the page before. unread=true leaves out what was read.");

        notifications.MapPost("/{notificationId:guid}/read", async (Guid notificationId, Caller caller, Guid? userId, CancellationToken ct) =>
                new ReadResult(await caller.Credits.ReadNotificationsAsync(caller.For(userId), notificationId, ct)))
            .WithProblems("not_found")
            .WithSummary("Mark a notification as read")
            .WithDescription("A service names the user by ?userId=. Doing it again changes nothing.");

        notifications.MapPost("/read-all", async (Caller caller, Guid? userId, CancellationToken ct) =>
                new ReadResult(await caller.Credits.ReadNotificationsAsync(caller.For(userId), null, ct)))
            .WithSummary("Mark all of a user's notifications as read")
            .WithDescription("A service names the user by ?userId=.");
    }

    private static Task<List<Notification>> ListAsync(Caller caller, Guid user, bool unread, Guid? before, int limit, CancellationToken ct) => caller.Sql.RowsAsync(
        """
        select n.notification_id, n.type, n.severity, n.credit_type, nullif(n.action_type, ''), n.title, n.message, n.details::text, n.repeats, n.created_at,
          n.updated_at, n.read_at
        from credits.notifications n
        where n.user_id = $1 and (not $2 or n.read_at is null)
          and ($3::uuid is null or (n.created_at, n.notification_id) < (
            select b.created_at, b.notification_id from credits.notifications b where b.user_id = $1 and b.notification_id = $3))
        order by n.created_at desc, n.notification_id desc
        limit $4
        """,
        null,
        r => new Notification(
            r.GetGuid(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetTextOrNull(4), r.GetString(5), r.GetString(6), JsonNode.Parse(r.GetString(7))!,
            r.GetInt32(8), r.GetFieldValue<DateTimeOffset>(9), r.GetFieldValue<DateTimeOffset>(10), r.GetFieldValue<DateTimeOffset?>(11)),
        ct, user, unread, before, limit);

    /// <param name="NotificationId">Its id.</param>
    /// <param name="Type">deduction_failed, low_balance, exhausted, reset, purchase or expiring_soon.</param>
    /// <param name="Severity">warning or info.</param>
    /// <param name="CreditType">Which credits it is about.</param>
    /// <param name="ActionType">The action that it is about.</param>
    /// <param name="Title">For people.</param>
    /// <param name="Message">For people.</param>
    /// <param name="Details">For programs.</param>
    /// <param name="Repeats">How often it happened while it was unread.</param>
    /// <param name="CreatedAt">When it happened first.</param>
    /// <param name="UpdatedAt">When it happened last.</param>
    /// <param name="ReadAt">When it was read.</param>
    internal sealed record Notification(
        Guid NotificationId, string Type, string Severity, string CreditType, string? ActionType, string Title, string Message,
        [property: JsonConverter(typeof(EngineJsonConverter))] JsonNode Details, int Repeats,
        DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt, DateTimeOffset? ReadAt);

    /// <param name="Notifications">The newest first.</param>
    /// <param name="NextBefore">For the next page; null on the last.</param>
    internal sealed record NotificationPage(IReadOnlyList<Notification> Notifications, Guid? NextBefore);

    /// <param name="Read">How many became read now.</param>
    internal sealed record ReadResult(int Read);
}
