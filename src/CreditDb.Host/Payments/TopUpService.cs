namespace CreditDb.Host.Payments;

/// <summary>Charges the automatic top-ups that the database says are due. Several hosts share them; each is charged once.</summary>
internal sealed partial class TopUpService(
    PaymentDesk desk, Microsoft.Extensions.Options.IOptions<PaymentOptions> options, TimeProvider time, ILogger<TopUpService> logger) : BackgroundService
{
    // With at most 40 seconds each, they are charged long before their lease of 10 minutes ends.
    private const int AtOnce = 20;

    /// <summary>Charges what is due now; returns how many were.</summary>
    public async Task<int> RunOnceAsync(CancellationToken ct)
    {
        var due = await desk.BeginTopUpsAsync(AtOnce, ct);
        await Parallel.ForEachAsync(due, new ParallelOptions { MaxDegreeOfParallelism = 4, CancellationToken = ct }, async (one, token) =>
        {
            try
            {
                // What was charged is booked, also while the host stops.
                var applied = await desk.ApplyAsync(desk.Provider.Name, await desk.Provider.ChargeAsync(one, token), CancellationToken.None);
                Charged(one.PurchaseId, applied.Kind, applied.Status);
            }
            catch (Exception e) when (e is not OperationCanceledException || !token.IsCancellationRequested)
            {
                // It stays under way: another run asks the provider again, a few times.
                Unknown(e, one.PurchaseId);
            }
        });
        return due.Count;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(options.Value.TopUpSeconds), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                while (await RunOnceAsync(stoppingToken) == AtOnce)
                {
                    // There may be more.
                }
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Failed(e);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Automatic top-up {PurchaseId}: {Kind}, {Status}")]
    private partial void Charged(Guid purchaseId, string kind, string status);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Automatic top-up {PurchaseId}: the outcome is not known yet")]
    private partial void Unknown(Exception exception, Guid purchaseId);

    [LoggerMessage(Level = LogLevel.Error, Message = "Automatic top-ups could not be looked through; the next run tries again")]
    private partial void Failed(Exception exception);
}
