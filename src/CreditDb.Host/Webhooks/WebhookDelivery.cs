using Microsoft.Extensions.Options;
using Npgsql;

namespace CreditDb.Host.Webhooks;

/// <summary>
/// Delivers events to the endpoints that want them. Any number of hosts share the work: the database gives each delivery to one of them, in the order of its account.
/// </summary>
internal sealed partial class WebhookDelivery(
    SqlCaller sql, WebhookSender sender, WebhookMetrics metrics, IOptions<WebhookOptions> options, TimeProvider time, ILogger<WebhookDelivery> logger) : BackgroundService
{
    private const int Batch = 1000;

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Tidy = TimeSpan.FromHours(1);

    private readonly WebhookOptions _options = options.Value;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // What nobody foresaw ends both, and is not kept quiet.
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
        async Task RunAsync(Func<CancellationToken, Task> work)
        {
            try
            {
                await work(either.Token);
            }
            catch
            {
                await either.CancelAsync();
                throw;
            }
        }

        await Task.WhenAll(RunAsync(DeliverAsync), RunAsync(TendAsync));
    }

    /// <summary>Ends once what is under way has ended.</summary>
    private async Task DeliverAsync(CancellationToken stopping)
    {
        var sending = new List<Task>();
        while (!stopping.IsCancellationRequested)
        {
            sending.RemoveAll(t => t.IsCompleted);
            var room = _options.Parallel - sending.Count;
            var wait = TimeSpan.FromMilliseconds(_options.PollMilliseconds);
            try
            {
                var claimedAt = time.GetTimestamp();
                var claimed = room > 0 ? await sql.ClaimWebhookDeliveriesAsync(room, _options, stopping) : [];
                sending.AddRange(claimed.Select(d => Task.Run(() => AttemptAsync(d, claimedAt), CancellationToken.None)));
                if (claimed.Count > 0)
                    continue;
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException)
            {
                Away(e.Message);
                wait = Pause;
            }
            catch (OperationCanceledException)
            {
                break;
            }
            catch (Exception e)
            {
                Stuck(e);
                wait = Pause;
            }

            // What ends makes room, and lets its account go on.
            await Task.WhenAny([.. sending, Task.Delay(wait, time, stopping)]);
        }

        await Task.WhenAll(sending);
    }

    private async Task AttemptAsync(ClaimedDelivery delivery, long claimedAt)
    {
        // What would not end with its lease is left to whoever claims it next.
        if (time.GetElapsedTime(claimedAt) > _options.Lease - _options.Timeout)
            return;
        var message = delivery.Message;
        try
        {
            var answer = await sender.SendAsync(message, CancellationToken.None);
            var finished = await sql.FinishWebhookDeliveryAsync(delivery, answer, CancellationToken.None);
            var outcome = finished.Status switch
            {
                "delivered" or "dead" => finished.Status,
                "pending" => "failed",
                _ => answer.Error is null ? "delivered" : "failed",
            };
            metrics.Attempted(delivery.EndpointId, outcome);
            if (outcome == "dead")
                Died(message.EventId, message.Type, delivery.EndpointId, message.Attempt, answer.Error!);
            else if (outcome == "failed")
                Failed(message.EventId, message.Type, delivery.EndpointId, message.Attempt, answer.Error!);
            else
                Delivered(message.EventId, message.Type, delivery.EndpointId, message.Attempt, answer.Elapsed.TotalMilliseconds);
        }
        catch (Exception e)
        {
            // Its lease ends, and it is attempted again.
            Unreported(e, message.EventId, delivery.EndpointId);
        }
    }

    /// <summary>Keeps the gauges up to date and deletes what nobody needs.</summary>
    private async Task TendAsync(CancellationToken stopping)
    {
        long? tidiedAt = null;
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                metrics.Show(await sql.GetWebhookEndpointsAsync(stopping));
                if (tidiedAt is null || time.GetElapsedTime(tidiedAt.Value) >= Tidy)
                {
                    while (await sql.PurgeWebhookDeliveriesAsync(_options, Batch, stopping) > 0)
                        stopping.ThrowIfCancellationRequested();
                    tidiedAt = time.GetTimestamp();
                }

                await Task.Delay(Look, time, stopping);
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException)
            {
                Away(e.Message);
                await Task.WhenAny(Task.Delay(Pause, time, stopping));
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "Event {EventId} ({Type}) was delivered to {EndpointId} by attempt {Attempt} in {Milliseconds} ms")]
    private partial void Delivered(Guid eventId, string type, Guid endpointId, int attempt, double milliseconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "Event {EventId} ({Type}) was not delivered to {EndpointId} by attempt {Attempt}: {Error}")]
    private partial void Failed(Guid eventId, string type, Guid endpointId, int attempt, string error);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Event {EventId} ({Type}) could not be delivered to {EndpointId} and is dead after attempt {Attempt}: {Error}")]
    private partial void Died(Guid eventId, string type, Guid endpointId, int attempt, string error);

    [LoggerMessage(Level = LogLevel.Error, Message = "Deliveries could not be taken up; they are tried again")]
    private partial void Stuck(Exception exception);

    [LoggerMessage(Level = LogLevel.Warning, Message = "What became of event {EventId} for {EndpointId} could not be recorded; it is sent again")]
    private partial void Unreported(Exception exception, Guid eventId, Guid endpointId);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Webhooks wait for the database: {Reason}")]
    private partial void Away(string reason);
}
