using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Live;

/// <summary>
/// Server-sent events for one client. A stream holds a position and no queue: what comes after it is read when the client has taken what came before,
/// so a slow client costs no memory, and one that takes nothing is dropped.
/// </summary>
internal sealed class LiveStream(LiveUpdates updates, LiveMetrics metrics, IOptions<LiveOptions> options, IHostApplicationLifetime lifetime, TimeProvider time)
{
    private static readonly byte[] Heartbeat = ": \n\n"u8.ToArray();

    public async Task RunAsync(HttpContext context, Guid user, string keyId, string? lastEventId)
    {
        using var subscription = updates.Subscribe(user, keyId);
        var batch = await subscription.Watch.BeginAsync(subscription, LivePosition.Parse(lastEventId, user));

        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        // Proxies that would collect the answer before passing it on.
        context.Response.Headers["X-Accel-Buffering"] = "no";
        context.Features.GetRequiredFeature<IHttpResponseBodyFeature>().DisableBuffering();

        var expiresAt = context.Features.Get<IAuthenticateResultFeature>()?.AuthenticateResult?.Properties?.ExpiresUtc;
        using var expiry = expiresAt is { } at ? new CancellationTokenSource(at - time.GetUtcNow() is { Ticks: > 0 } left ? left : TimeSpan.Zero, time) : null;
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(
            context.RequestAborted, lifetime.ApplicationStopping, subscription.KeyIsGone, expiry?.Token ?? CancellationToken.None);
        try
        {
            await SendAsync(context, LiveBatch.Retry());
            await SendAsync(context, batch.Bytes);
            metrics.Sent(batch);
            await FollowAsync(context, subscription, batch, ending.Token);
        }
        catch (OperationCanceledException) when (ending.IsCancellationRequested && !context.RequestAborted.IsCancellationRequested)
        {
            var reason = expiry?.IsCancellationRequested == true ? "token_expired"
                : subscription.KeyIsGone.IsCancellationRequested ? "key_revoked"
                : "shutdown";
            await SendAsync(context, (byte[])[.. LiveBatch.Retry(), .. LiveBatch.End(reason)]);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client is gone.
        }
        catch (TimeoutException)
        {
            metrics.Dropped();
            context.Abort();
        }
    }

    private async Task FollowAsync(HttpContext context, LiveSubscription subscription, LiveBatch sent, CancellationToken ending)
    {
        var heartbeat = TimeSpan.FromSeconds(options.Value.HeartbeatSeconds);
        var isBehind = sent.HasMore;
        while (true)
        {
            ending.ThrowIfCancellationRequested();
            if (!isBehind && !await subscription.WaitAsync(heartbeat, ending))
            {
                await SendAsync(context, Heartbeat);
                continue;
            }

            var read = subscription.Watch.ReadAsync(subscription, sent.To);
            while (!await IsDoneAsync(read, heartbeat, ending))
                await SendAsync(context, Heartbeat);
            if (await read is not { } batch)
            {
                isBehind = false;
                continue;
            }

            await SendAsync(context, batch.Bytes);
            metrics.Sent(batch);
            sent = batch;
            isBehind = batch.HasMore;
        }
    }

    private static async Task<bool> IsDoneAsync(Task task, TimeSpan atMost, CancellationToken ct)
    {
        try
        {
            await task.WaitAsync(atMost, ct);
            return true;
        }
        catch (TimeoutException) when (!task.IsCompleted)
        {
            return false;
        }
    }

    /// <exception cref="TimeoutException">The client does not read.</exception>
    private async Task SendAsync(HttpContext context, ReadOnlyMemory<byte> bytes)
    {
        if (bytes.IsEmpty)
            return;
        var flush = context.Response.BodyWriter.WriteAsync(bytes, CancellationToken.None);
        if (!flush.IsCompletedSuccessfully)
            await flush.AsTask().WaitAsync(TimeSpan.FromSeconds(options.Value.WriteTimeoutSeconds), time, context.RequestAborted);
    }
}
