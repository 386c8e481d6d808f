using System.Buffers.Binary;
using System.Buffers.Text;
using CreditDb.Host.Access;
using CreditDb.Host.Api;

namespace CreditDb.Host.Payments;

/// <summary>Buying credits, and what operators see of it.</summary>
internal static class PaymentEndpoints
{
    public static void MapPurchases(this IEndpointRouteBuilder api)
    {
        var credits = api.MapGroup("/credits").WithTags("Purchases").RequireAuthorization(AccessSetup.Reads);
        credits.MapPost("/purchase", async (
                Buy request, Caller caller, PaymentDesk desk, HttpRequest http, IdempotencyKey idempotencyKey, CancellationToken ct) =>
            {
                var purchase = await desk.BuyAsync(caller.Credits, caller.For(request.UserId), request.PackageId, request.SavePaymentMethod ?? false,
                    Key(idempotencyKey), Address(http), ct);
                return TypedResults.Created((string?)null, PurchaseItem.Of(purchase));
            })
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "packageId": "starter" }""")
            .WithProblems("idempotency_key_required", "unknown_account", "account_suspended", "key_reused")
            .WithSummary("Buy a package")
            .WithDescription("Sends the user to checkoutUrl, where it is paid; the credits come when the payment provider reports that. The same Idempotency-Key leads to the same purchase and page.");
        credits.MapGet("/purchases", async (Caller caller, CancellationToken ct, Guid? userId = null, int limit = 50, string? after = null) =>
            {
                var (at, id) = Cursor.Read(after);
                var last = id is null ? null : new ListedPurchase { CreatedAt = at!.Value, PurchaseId = id.Value };
                var page = await caller.Credits.ListPurchasesAsync(caller.For(userId), limit, last, null, ct);
                return new Page<PurchaseItem>([.. page.Select(PurchaseItem.Of)], page.Count < limit ? null : Cursor.Write(page[^1].CreatedAt, page[^1].PurchaseId));
            })
            .WithSummary("List purchases, the newest first");
        credits.MapGet("/top-up", (Caller caller, PaymentDesk desk, Guid? userId, CancellationToken ct) =>
                caller.Credits.GetTopUpAsync(caller.For(userId), desk.Provider.Name, ct))
            .WithSummary("The automatic top-up, and how it is doing");
        credits.MapPut("/top-up", (SetTopUp request, Caller caller, PaymentDesk desk, CancellationToken ct) => caller.Credits.SetTopUpAsync(
                caller.For(request.UserId), desk.Provider.Name, request.IsOn!.Value, request.Threshold, request.PackageId, request.MonthlyCapMinor, ct))
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "isOn": false }""")
            .WithProblems("unknown_account")
            .WithSummary("Switch automatic top-up on or off")
            .WithDescription("What is left out stays. It charges the payment method that a purchase with savePaymentMethod saved, and stops at the first failure until it is set again or something is bought.");
    }

    public static void MapPaymentAdministration(this IEndpointRouteBuilder admin)
    {
        var events = admin.MapGroup("/payment-events").WithTags("Payments");
        events.MapGet("/", async (PaymentDesk desk, CancellationToken ct, bool waiting = true, int limit = 50, string? after = null) =>
            {
                var (at, id) = Cursor.Read(after);
                var page = await desk.ListEventsAsync(waiting, limit, at, id, ct);
                return new Page<ListedPaymentEvent>(page, page.Count < limit ? null : Cursor.Write(page[^1].ReceivedAt, page[^1].PaymentEventId));
            })
            .WithSummary("What the payment provider reported and could not be applied, the newest first; waiting=false: all");
        events.MapPost("/{id:guid}/retry", async (Guid id, RetryEvent? request, Caller caller, CancellationToken ct) => CreditClient.Done(
                await caller.Sql.JsonAsync<AppliedEvent>("select credits.retry_payment_event($1, $2, $3)", id.ToString(), ct, id, request?.UserId, request?.PurchaseId)))
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "purchaseId": "00000000-0000-0000-0000-000000000001" }""")
            .WithProblems("not_found")
            .WithSummary("Try it again, as if it had named this purchase");
        events.MapPost("/{id:guid}/dismiss", async (Guid id, DismissEvent request, Caller caller, CancellationToken ct) => CreditClient.Done(
                await caller.Sql.JsonAsync<AppliedEvent>("select credits.dismiss_payment_event($1, $2)", id.ToString(), ct, id, request.Reason)))
            .WithExample("""{ "reason": "refunded by hand" }""")
            .WithProblems("not_found")
            .WithSummary("Say that it was dealt with otherwise");
        admin.MapPost("/purchases/{purchaseId:guid}/refund", async (
                Guid purchaseId, RefundPayment request, PaymentDesk desk, IdempotencyKey idempotencyKey, CancellationToken ct) =>
                new Refunded(await desk.RefundAsync(request.UserId, purchaseId, request.AmountMinor, Key(idempotencyKey), ct)))
            .WithTags("Payments")
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "amountMinor": 100 }""")
            .WithProblems("idempotency_key_required", "unknown_account", "not_found")
            .WithSummary("Refund a purchase at the payment provider; the credits follow when that reports it");
        admin.MapPost("/purchases/{purchaseId:guid}/reinstate", (Guid purchaseId, Reinstate request, Caller caller, CancellationToken ct) =>
                caller.Credits.ReinstatePurchaseAsync(request.UserId, purchaseId, request.RefundReference, request.Reason, ct))
            .WithTags("Payments")
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "refundReference": "pi_1 refund 1", "reason": "the card was closed" }""")
            .WithProblems("unknown_account", "not_found")
            .WithSummary("Give back what a refund that failed at the provider, or a dispute that was won, had taken; once");
    }

    // Providers take keys of 255 characters, and what they are told has more in it than ours.
    private static string Key(IdempotencyKey key) => key.Value is { Length: <= 105 } value
        ? value
        : throw new ProblemException(400, "idempotency_key_required", "Send an Idempotency-Key of 1 to 100 ASCII characters, the same one when you repeat the request.");

    /// <summary>Where the caller reached this host.</summary>
    private static Uri Address(HttpRequest http) => Uri.TryCreate($"{http.Scheme}://{http.Host}", UriKind.Absolute, out var address)
        ? address
        : throw new ProblemException(400, "malformed_request", "The header Host is no name or address.");

    /// <param name="PackageId">What is bought.</param>
    /// <param name="UserId">Who buys; a user's token may leave it out.</param>
    /// <param name="SavePaymentMethod">Whether automatic top-up may charge the same payment method.</param>
    internal sealed record Buy(string PackageId, Guid? UserId = null, bool? SavePaymentMethod = null);

    internal sealed record SetTopUp(bool? IsOn, Guid? UserId = null, decimal? Threshold = null, string? PackageId = null, long? MonthlyCapMinor = null);

    internal sealed record RetryEvent(Guid? UserId = null, Guid? PurchaseId = null);

    internal sealed record DismissEvent(string Reason);

    /// <param name="UserId">Whose purchase it is.</param>
    /// <param name="AmountMinor">Minor units; null: all that is left.</param>
    internal sealed record RefundPayment(Guid UserId, long? AmountMinor = null);

    internal sealed record Refunded(string RefundReference);

    /// <param name="UserId">Whose purchase it is.</param>
    /// <param name="RefundReference">The reference of the ledger's entry that took the credits.</param>
    /// <param name="Reason">For the books.</param>
    internal sealed record Reinstate(Guid UserId, string RefundReference, string? Reason = null);

    internal sealed record Page<T>(IReadOnlyList<T> Items, string? Next);

    /// <summary>A purchase as people see it: without what lets one pay at the sandbox or names the payment to the provider.</summary>
    internal sealed record PurchaseItem(
        Guid PurchaseId, string PackageId, string PackageName, string Status, decimal Credits, long PriceMinor, string Currency, IReadOnlyList<string> Features,
        string Provider, string? CheckoutUrl, long RefundedMinor, decimal RefundedCredits, bool IsTopUp, string? FailureReason, DateTimeOffset CreatedAt, DateTimeOffset? CompletedAt)
    {
        public static PurchaseItem Of(ListedPurchase p) => new(
            p.PurchaseId, p.PackageId, p.PackageName, p.Status, p.Credits, p.PriceMinor, p.Currency, p.Features, p.Provider, p.CheckoutUrl, p.RefundedMinor,
            p.RefundedCredits, p.IsTopUp, p.FailureReason, p.CreatedAt, p.CompletedAt);
    }

    /// <summary>Where a page ended: the time and id of its last row.</summary>
    private static class Cursor
    {
        public static string Write(DateTimeOffset at, Guid id)
        {
            var bytes = new byte[24];
            BinaryPrimitives.WriteInt64BigEndian(bytes, at.UtcTicks);
            id.TryWriteBytes(bytes.AsSpan(8));
            return Base64Url.EncodeToString(bytes);
        }

        public static (DateTimeOffset? At, Guid? Id) Read(string? cursor)
        {
            if (cursor is null)
                return (null, null);
            var bytes = new byte[24];
            if (cursor.Length == 32 && Base64Url.IsValid(cursor) && Base64Url.TryDecodeFromChars(cursor, bytes, out var length) && length == 24
                && BinaryPrimitives.ReadInt64BigEndian(bytes) is >= 0 and < 3_155_378_975_999_999_999 and var ticks)
                return (new DateTimeOffset(ticks, TimeSpan.Zero), new Guid(bytes.AsSpan(8)));
            throw new ProblemException(400, "invalid_argument", "after is the next of an earlier page.", "after");
        }
    }
}
