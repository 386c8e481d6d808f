using Npgsql;

namespace CreditDb.Host.Work;

/// <summary>
/// Does what is due and nobody waits for: each job at its interval, as many hosts at once as there are. What is done is in the database, so it may stop
/// at any moment, and goes on when the database comes back.
/// </summary>
internal sealed partial class Worker(
    Func<CreditClient> connect, IReadOnlyList<Job> jobs, WorkerOptions options, WorkerMetrics metrics, TimeProvider time, ILogger<Worker> logger)
    : BackgroundService
{
    private static readonly TimeSpan ObserveEvery = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(1);

    private readonly SemaphoreSlim _gate = new(1);
    private readonly Lazy<CreditClient> _client = new(connect);
    private int _outages;

    /// <summary>Runs a job until there is nothing to do any more. every: a sweep begins if the last one began so long ago; null: at once.</summary>
    public async Task<JobRun> RunAsync(Job job, TimeSpan? every, CancellationToken ct)
    {
        var items = 0L;
        var raised = 0;
        List<Alert> alerts = [];
        SweepSlice slice;
        do
        {
            ct.ThrowIfCancellationRequested();
            slice = await job.Slice(_client.Value, options, every, ct);
            items += slice.Items;
            raised += slice.Raised;
            alerts.AddRange(slice.Alerts);
            metrics.Did(job, slice.Items);
            Tell(slice);
        }
        while (!slice.IsDone);
        return new JobRun(job.Name, items, raised, alerts);
    }

    /// <summary>Reads how the jobs stand, for the metrics too.</summary>
    public async Task<WorkerState> ObserveAsync(CancellationToken ct)
    {
        var state = await _client.Value.GetWorkerStateAsync(options.PurchaseAge, ct);
        metrics.Observe(state);
        return state;
    }

    public override void Dispose()
    {
        _gate.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (!options.Enabled)
        {
            LogSwitchedOff();
            return;
        }

        var names = string.Join(", ", jobs.Select(job => job.Name));
        LogRuns(names);
        try
        {
            await Task.WhenAll(jobs.Select(job => RepeatAsync(job, stoppingToken)).Append(KeepObservingAsync(stoppingToken)));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Slices that were under way are rolled back, and done by whoever comes next.
        }
    }

    private void Tell(SweepSlice slice)
    {
        if (!logger.IsEnabled(LogLevel.Warning))
            return;
        foreach (var alert in slice.Alerts)
            LogAlert(alert.Kind, alert.UserId, alert.CreditType, alert.Subject, alert.Details.ToJsonString());
        var more = slice.Raised - slice.Alerts.Count;
        if (more > 0)
            LogMoreAlerts(more);
    }

    private async Task RepeatAsync(Job job, CancellationToken ct)
    {
        var interval = options.IntervalOf(job);
        var poll = job.Poll(interval);
        var failures = 0;

        // Hosts that start together need not ask together.
        await PauseAsync(TimeSpan.FromSeconds(Math.Min(2, poll.TotalSeconds) * Random.Shared.NextDouble()), ct);
        while (true)
        {
            var started = time.GetTimestamp();
            var outages = Volatile.Read(ref _outages);
            try
            {
                var run = await RunAsync(job, interval, ct);
                metrics.Ran(job, "ok", time.GetElapsedTime(started));
                LogRan(job.Name, run.Items);
                failures = 0;
                await PauseAsync(poll, ct);
            }
            catch (OperationCanceledException) when (ct.IsCancellationRequested)
            {
                metrics.Ran(job, "stopped", time.GetElapsedTime(started));
                throw;
            }
            catch (Exception e)
            {
                var took = time.GetElapsedTime(started);
                var isAway = IsConnectionLoss(e) && await WasAwayAsync(outages, ct);
                metrics.Ran(job, isAway ? "away" : "failed", took);
                if (isAway)
                    continue;
                var wait = Backoff(++failures);
                LogFailed(e, job.Name, wait);
                await PauseAsync(wait, ct);
            }
        }
    }

    private async Task KeepObservingAsync(CancellationToken ct)
    {
        while (true)
        {
            var outages = Volatile.Read(ref _outages);
            try
            {
                await ObserveAsync(ct);
            }
            catch (Exception e) when (e is not OperationCanceledException || !ct.IsCancellationRequested)
            {
                if (IsConnectionLoss(e) && await WasAwayAsync(outages, ct))
                    continue;
                LogNotObserved(e);
            }

            await PauseAsync(ObserveEvery, ct);
        }
    }

    /// <summary>
    /// Whether the database was away, and is back. One of those who lost it asks for it again and again, and says when it goes and when it returns; the others wait.
    /// </summary>
    private async Task<bool> WasAwayAsync(int outages, CancellationToken ct)
    {
        await _gate.WaitAsync(ct);
        try
        {
            if (_outages != outages)
                return true;
            var tries = 0;
            while (await ProblemAsync(ct) is { } problem)
            {
                if (tries++ == 0)
                    LogAway(problem);
                await PauseAsync(Backoff(tries), ct);
            }

            if (tries == 0)
                return false;
            _outages++;
            LogReturned();
            return true;
        }
        finally
        {
            _gate.Release();
        }
    }

    private async Task<string?> ProblemAsync(CancellationToken ct)
    {
        try
        {
            await ObserveAsync(ct);
            return null;
        }
        catch (Exception e) when (IsConnectionLoss(e))
        {
            return e.Message;
        }
    }

    /// <summary>An error of the network, of class 08, too many connections, or the server's word that it is going or coming.</summary>
    private static bool IsConnectionLoss(Exception e) => e switch
    {
        PostgresException { SqlState: var state } => state.StartsWith("08", StringComparison.Ordinal)
            || state is PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.TooManyConnections,
        NpgsqlException => true,
        _ => false,
    };

    private static TimeSpan Backoff(int failures) =>
        TimeSpan.FromSeconds(Math.Min(LongestWait.TotalSeconds, Math.Pow(2, Math.Min(failures, 10) - 1)));

    /// <summary>With jitter, so that hosts do not keep step.</summary>
    private Task PauseAsync(TimeSpan about, CancellationToken ct) =>
        Task.Delay(TimeSpan.FromTicks((long)(about.Ticks * (0.9 + 0.2 * Random.Shared.NextDouble()))), time, ct);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The worker does {Jobs}.")]
    private partial void LogRuns(string jobs);

    [LoggerMessage(Level = LogLevel.Information, Message = "The worker is switched off (Worker:Enabled is false).")]
    private partial void LogSwitchedOff();

    [LoggerMessage(Level = LogLevel.Debug, Message = "The job {Job} did {Items}.")]
    private partial void LogRan(string job, long items);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Alert, {Kind}: user {UserId}, {CreditType}: {Subject}: {Details}")]
    private partial void LogAlert(string kind, Guid userId, string creditType, string subject, string details);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} more alerts were raised; GET /api/admin/alerts lists them.")]
    private partial void LogMoreAlerts(int count);

    [LoggerMessage(Level = LogLevel.Error, Message = "The job {Job} failed, and is tried again in {Wait}.")]
    private partial void LogFailed(Exception e, string job, TimeSpan wait);

    [LoggerMessage(Level = LogLevel.Error, Message = "How the worker's jobs stand could not be read.")]
    private partial void LogNotObserved(Exception e);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database cannot be reached, and the worker waits for it: {Problem}")]
    private partial void LogAway(string problem);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database is back, and the worker goes on.")]
    private partial void LogReturned();
}

/// <summary>What a run of a job did.</summary>
internal sealed record JobRun(string Job, long Items, int Raised, IReadOnlyList<Alert> Alerts);
