using System.Globalization;
using System.Net;
using CreditDb.Host.Api;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Payments;

/// <summary>The sandbox's page. Its address cannot be guessed, and is what lets one pay or cancel.</summary>
internal static class SandboxEndpoints
{
    // As written by ISO 4217; all others have two.
    private static readonly string[] WithoutDecimals = ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"];

    public static void MapSandbox(this IEndpointRouteBuilder app)
    {
        var pages = app.MapGroup("/sandbox/pay/{token}").AllowAnonymous().ExcludeFromDescription();
        pages.MapGet("/", async (string token, HttpContext context, PaymentDesk desk, CancellationToken ct) =>
            Page(context, await FindAsync(desk, token, ct) is var (_, purchase) ? purchase : throw Unknown(), token));
        pages.MapPost("/pay", (string token, HttpContext context, PaymentDesk desk, IOptions<PaymentOptions> options, CancellationToken ct) =>
            AnswerAsync(token, "paid", SandboxProvider.Paid, context, desk, options.Value, ct));
        pages.MapPost("/cancel", (string token, HttpContext context, PaymentDesk desk, IOptions<PaymentOptions> options, CancellationToken ct) =>
            AnswerAsync(token, "cancelled", SandboxProvider.Cancelled, context, desk, options.Value, ct));
    }

    private static async Task<IResult> AnswerAsync(
        string token, string result, Func<Guid, ListedPurchase, PaymentEvent> say, HttpContext context, PaymentDesk desk, PaymentOptions options, CancellationToken ct)
    {
        var (userId, purchase) = await FindAsync(desk, token, ct) ?? throw Unknown();
        if (purchase.Status == "pending")
            await desk.ApplyAsync(SandboxProvider.ProviderName, say(userId, purchase), ct);
        Guard(context);
        context.Response.Headers.Location = options.ReturnUrl is { } url ? StripeProvider.ReturnTo(url, purchase.PurchaseId, result) : $"/sandbox/pay/{token}";
        return Results.StatusCode(StatusCodes.Status303SeeOther);
    }

    private static async Task<(Guid UserId, ListedPurchase Purchase)?> FindAsync(PaymentDesk desk, string token, CancellationToken ct)
    {
        if (!SandboxProvider.TryRead(token, out var userId, out var purchaseId))
            return null;
        var purchase = await desk.FindAsync(userId, purchaseId, ct);
        return SandboxProvider.IsOf(token, purchase) ? (userId, purchase) : null;
    }

    private static ProblemException Unknown() => new(404, "not_found", "There is no such payment page.");

    private static void Guard(HttpContext context)
    {
        var headers = context.Response.Headers;
        headers.CacheControl = "no-store";
        headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
        headers["Referrer-Policy"] = "no-referrer";
        headers.XContentTypeOptions = "nosniff";
    }

    private static IResult Page(HttpContext context, ListedPurchase purchase, string token)
    {
        Guard(context);
        var credits = purchase.Credits.ToString("#,0.######", CultureInfo.InvariantCulture);
        var what = purchase.Status switch
        {
            "pending" => $"""
                <form method="post" action="/sandbox/pay/{token}/pay"><button type="submit" class="pay">Pay {Price(purchase)}</button></form>
                <form method="post" action="/sandbox/pay/{token}/cancel"><button type="submit">Cancel</button></form>
                """,
            "failed" => """<p role="status">This purchase was cancelled. Nothing was paid. You can close this page.</p>""",
            _ => $"""<p role="status">Paid: {credits} credits were added. You can close this page.</p>""",
        };
        return Results.Content($$"""
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Pay for {{Html(purchase.PackageName)}} (sandbox)</title>
            <style>
            :root { color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif; }
            body { margin: 0; min-height: 100vh; display: grid; place-items: center; }
            main { width: min(26rem, calc(100vw - 2rem)); padding: 2rem; box-sizing: border-box; border: 1px solid #8886; border-radius: .75rem; }
            h1 { margin: 0 0 1rem; font-size: 1.25rem; }
            dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0 0 1.5rem; }
            dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
            button { width: 100%; min-height: 2.75rem; margin-top: .5rem; font: inherit; border: 1px solid #888; border-radius: .5rem; background: none; color: inherit; cursor: pointer; }
            button.pay { background: #1d4ed8; border-color: #1d4ed8; color: #fff; }
            button:focus-visible { outline: 3px solid #f59e0b; outline-offset: 2px; }
            .note { margin: 1.5rem 0 0; font-size: .875rem; }
            </style>
            </head>
            <body>
            <main>
            <h1>{{Html(purchase.PackageName)}}</h1>
            <dl>
            <dt>Credits</dt><dd>{{credits}}</dd>
            <dt>Price</dt><dd>{{Price(purchase)}}</dd>
            </dl>
            {{what}}
            <p class="note">This is a sandbox: no money moves.</p>
            </main>
            </body>
            </html>
            """, "text/html; charset=utf-8");
    }

    private static string Price(ListedPurchase purchase) => WithoutDecimals.Contains(purchase.Currency)
        ? string.Create(CultureInfo.InvariantCulture, $"{purchase.PriceMinor:#,0} {purchase.Currency}")
        : string.Create(CultureInfo.InvariantCulture, $"{purchase.PriceMinor / 100m:#,0.00} {purchase.Currency}");

    private static string Html(string text) => WebUtility.HtmlEncode(text);
}
