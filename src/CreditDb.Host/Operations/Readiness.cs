using CreditDb.Host.Api;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Host.Operations;

/// <summary>Whether this host should be sent requests. What it finds holds for some seconds, so that asking often costs nothing.</summary>
internal sealed class Readiness(Database database, IHostApplicationLifetime lifetime, TimeProvider time) : IAsyncDisposable, IDisposable
{
    private static readonly TimeSpan GoodFor = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan BadFor = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(3);

    // A connection of its own: a pool that is busy is no database that is away.
    private readonly NpgsqlDataSource _source = database.CreateDataSource("creditdb ready", 1);
    private readonly SemaphoreSlim _one = new(1);
    private Verdict? _last;

    /// <summary>What is missing; null if nothing is.</summary>
    public async Task<ProblemException?> CheckAsync(CancellationToken ct)
    {
        if (lifetime.ApplicationStopping.IsCancellationRequested)
            return Missing("stopping", "This host is stopping: send requests to another one.");
        if (Known() is { } known)
            return known.Problem;
        await _one.WaitAsync(ct);
        try
        {
            var verdict = Known() ?? new Verdict(await FindAsync(), time.GetTimestamp());
            _last = verdict;
            return verdict.Problem;
        }
        finally
        {
            _one.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _source.DisposeAsync();
        _one.Dispose();
    }

    public void Dispose()
    {
        _source.Dispose();
        _one.Dispose();
    }

    private Verdict? Known() => _last is { } last && time.GetElapsedTime(last.At) < (last.Problem is null ? GoodFor : BadFor) ? last : null;

    private async Task<ProblemException?> FindAsync()
    {
        using var limit = new CancellationTokenSource(Limit, time);
        try
        {
            return Judge(await database.CreateMigrator(_source).StatusAsync(limit.Token));
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
        {
            return Missing("not_permitted", "The host's login may not read the journal of migrations: make it a member of creditdb_admin.");
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or OperationCanceledException)
        {
            return Missing("database_unavailable", "The database cannot be reached.");
        }
    }

    /// <summary>A database that is newer than this program serves it too, while the hosts of a release are replaced one by one.</summary>
    private static ProblemException? Judge(MigrationStatus status) => status.Problem switch
    {
        MigrationProblem.DatabaseNewer => null,
        MigrationProblem.RolePrefixDiffers => Missing("role_prefix_differs", "The database was migrated with another role prefix than Database:RolePrefix."),
        MigrationProblem.ScriptEdited => Missing("script_edited", "A script of this program has been edited since the database was migrated."),
        _ when !status.UpToDate => Missing("migrations_pending", Pending(status)),
        _ => null,
    };

    private static string Pending(MigrationStatus status)
    {
        string[] names = [.. status.Scripts.Where(s => s.State is ScriptState.Pending or ScriptState.Changed or ScriptState.Unknown).Select(s => s.Name)];
        return $"The database is not at this release; migrate would run {names.Length} scripts: {string.Join(", ", names.Take(3))}{(names.Length > 3 ? ", …" : "")}.";
    }

    private static ProblemException Missing(string code, string detail) => new(StatusCodes.Status503ServiceUnavailable, code, detail);

    private sealed record Verdict(ProblemException? Problem, long At);
}
