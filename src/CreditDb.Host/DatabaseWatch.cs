namespace CreditDb.Host;

/// <summary>Stops the host if its private server ends by itself.</summary>
internal sealed class DatabaseWatch(Database database, IHostApplicationLifetime lifetime) : BackgroundService
{
    /// <summary>Why the database ended while it was needed.</summary>
    public string? Failure { get; private set; }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (database.Server is not { } server)
            return;
        try
        {
            await server.Exited.WaitAsync(stoppingToken);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        Failure = $"PostgreSQL ended by itself. The end of its log, {server.LogFile}:\n{server.LogTail}";
        lifetime.StopApplication();
    }
}
