using System.CommandLine;
using System.Diagnostics.Metrics;
using CreditDb.Host.Work;
using Npgsql;

namespace CreditDb.Host.Commands;

internal static class WorkCommand
{
    private static readonly Argument<string[]> Jobs = new("job")
    {
        Description = "Only these jobs.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Option<bool> Once = new("--once")
    {
        Description = "Do what there is to do and exit; 8 if the books, as far as they were verified, have discrepancies. Sweeps begin at once, or go on where another worker stopped.",
    };

    public static Command Create()
    {
        Jobs.AcceptOnlyFromAmong([.. Job.All.Select(job => job.Name)]);
        var command = Verb.Create(
            "work",
            $"""
            Do the work that nobody waits for, as serve does too (unless Worker:Enabled is false); as many at once as you like.
            Settings: Worker:Intervals:<job>, Worker:PurchaseAge, Worker:ExpiryNotice.

            Jobs:
            {string.Join('\n', Job.All.Select(job => $"  {job.Name,-10} {job.Description}"))}
            """,
            [Once],
            RunAsync);
        command.Add(Jobs);
        return command;
    }

    private static async Task<ExitCode> RunAsync(Verb verb, CancellationToken cancellationToken)
    {
        var names = verb.Arguments.GetValue(Jobs) ?? [];
        var jobs = Job.All.Where(job => names.Length == 0 || names.Contains(job.Name)).ToList();
        var isOnce = verb.Arguments.GetValue(Once);

        using var meter = new Meter("CreditDb");
        using var logs = LoggerFactory.Create(logging => logging
            .SetMinimumLevel(isOnce ? LogLevel.Error : LogLevel.Information)
            .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace));
        using var worker = new Worker(
            () => new CreditClient(verb.DataSource), jobs, Settings(), new WorkerMetrics(meter), TimeProvider.System, logs.CreateLogger<Worker>());
        return isOnce ? await RunOnceAsync(verb, worker, jobs, cancellationToken) : await KeepRunningAsync(verb, worker, jobs, cancellationToken);
    }

    private static async Task<ExitCode> RunOnceAsync(Verb verb, Worker worker, List<Job> jobs, CancellationToken ct)
    {
        List<JobRun> runs = [];
        try
        {
            foreach (var job in jobs)
                runs.Add(await worker.RunAsync(job, null, ct));
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.UndefinedTable or PostgresErrorCodes.UndefinedColumn or PostgresErrorCodes.UndefinedFunction
            or PostgresErrorCodes.InvalidSchemaName)
        {
            return NotMigrated(verb);
        }

        verb.Output.Table(["job", "did", "alerts"], runs.Select(run => new[] { run.Job, $"{run.Items}", $"{run.Raised}" }));
        var alerts = runs.SelectMany(run => run.Alerts).ToList();
        if (alerts.Count > 0)
        {
            verb.Output.Table(
                ["alert", "user", "credit type", "subject", "details"],
                alerts.Select(a => new[] { a.Kind, a.UserId.ToString(), a.CreditType, a.Subject, a.Details.ToJsonString() }));
        }

        var open = (await worker.ObserveAsync(ct)).OpenAlerts.GetValueOrDefault("discrepancy");
        var isDiscrepant = open > 0 && jobs.Any(job => job.Name == "verify");
        if (isDiscrepant)
            verb.Output.Line($"Discrepancies: {open}.", "red");
        return verb.Finish(isDiscrepant ? ExitCode.Discrepancies : ExitCode.Ok, new { runs, openDiscrepancies = open });
    }

    private static async Task<ExitCode> KeepRunningAsync(Verb verb, Worker worker, List<Job> jobs, CancellationToken ct)
    {
        await worker.StartAsync(ct);
        verb.Output.Line($"At work: {string.Join(", ", jobs.Select(job => job.Name))}. Stop with Ctrl+C.");
        try
        {
            await worker.ExecuteTask!.WaitAsync(ct);
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            await worker.StopAsync(CancellationToken.None);
        }

        return verb.Finish(ExitCode.Ok, new { });
    }

    private static ExitCode NotMigrated(Verb verb)
    {
        verb.Output.Error("The database is not migrated, or not wholly. Run migrate first.");
        return verb.Finish(ExitCode.Pending, new { problem = "notMigrated" });
    }

    /// <summary>Whoever calls the verb wants the work done, whatever serve is told.</summary>
    private static WorkerOptions Settings()
    {
        var options = new WorkerOptions();
        try
        {
            new HostApplicationBuilder().Configuration.GetSection(WorkerOptions.Section).Bind(options, o => o.ErrorOnUnknownConfiguration = true);
        }
        catch (InvalidOperationException e)
        {
            throw new UsageException(e.InnerException is { } inner ? $"{e.Message} {inner.Message}" : SettingProblem.Text(e));
        }

        var problems = options.Problems().ToList();
        options.Enabled = true;
        return problems.Count == 0 ? options : throw new UsageException(string.Join('\n', problems));
    }
}
