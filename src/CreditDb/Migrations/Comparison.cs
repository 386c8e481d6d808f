namespace CreditDb.Migrations;

/// <summary>Scripts that run in one transaction; the last transaction of a migration re-applies everything.</summary>
internal sealed record ScriptTransaction(IReadOnlyList<DbScript> Scripts, bool Reapplies);

/// <summary>The program's scripts set beside a database's state: what each script's state is, and what is to be done.</summary>
internal sealed class Comparison
{
    private readonly MigratorOptions _options;
    private readonly DatabaseState _database;
    private readonly Dictionary<string, JournalEntry> _journal;
    private readonly Dictionary<string, AppliedObject> _applied;

    public Comparison(MigratorOptions options, DatabaseState database)
    {
        _options = options;
        _database = database;
        _journal = database.Scripts.ToDictionary(e => e.Name);
        _applied = database.Applied.ToDictionary(a => a.Name);

        Scripts =
        [
            .. options.Scripts.All.Select(StatusOf),
            .. database.Scripts.Where(e => options.Scripts.Find(e.Name) is null)
                .Select(e => new ScriptStatus(e.Name, true, ScriptState.Unknown, e.AppliedAt)),
            .. database.Applied.Where(a => options.Scripts.Find(a.Name) is null)
                .Select(a => new ScriptStatus(a.Name, false, ScriptState.Unknown, a.AppliedAt)),
        ];
        Adopted =
        [
            .. database.Journal.Where(e => e.Checksum is null).Select(e => e.Name).Distinct()
                .Select(options.Scripts.Find).OfType<DbScript>().Where(s => s.RunsOnce),
        ];
        Transactions = Group();
    }

    public IReadOnlyList<ScriptStatus> Scripts { get; }

    /// <summary>Scripts that DbUp journaled, whose checksums are to be recorded.</summary>
    public IReadOnlyList<DbScript> Adopted { get; }

    public IReadOnlyList<ScriptTransaction> Transactions { get; }

    public bool NothingToDo => Transactions.Count == 0 && Adopted.Count == 0;

    /// <summary>Why this database must not be migrated with these options, if it must not.</summary>
    public MigrationException? Refusal()
    {
        if (Scripts.FirstOrDefault(s => s is { State: ScriptState.Unknown, RunsOnce: true }) is { } unknown)
            return new(MigrationProblem.DatabaseNewer, $"The database is newer than this program: it has {unknown.Name}, which this program does not know.") { Script = unknown.Name };
        if (_database.Release > _options.Release)
            return new(MigrationProblem.DatabaseNewer, $"The database is newer than this program: it was migrated by release {_database.Release}, and this is {_options.Release}.");
        if (RefusedPrefix() is { } refusal)
            return refusal;
        if (Scripts.FirstOrDefault(s => s.State == ScriptState.Edited) is { } edited)
            return new(MigrationProblem.ScriptEdited, $"{edited.Name} has been edited since it was _applied. Restore it, and write the change as a new script.") { Script = edited.Name };
        return null;
    }

    /// <summary>Why this database must not be changed under the role prefix of the options, if it must not.</summary>
    public MigrationException? RefusedPrefix() =>
        _database.RolePrefix is { } prefix && prefix != _options.RolePrefix
            ? new(MigrationProblem.RolePrefixDiffers, $"The database was migrated with the role prefix {prefix}, not {_options.RolePrefix}.")
            : null;

    public MigrationPlan ToPlan() => new(
        [.. Transactions.Select(t => (IReadOnlyList<PlannedScript>)[.. t.Scripts.Select(s => new PlannedScript(s.Name, s.RunsOnce, StatusOf(s).State))])],
        [.. Adopted.Select(s => s.Name)]);

    // Every pending script of migrations has a transaction of its own. All that follows is one transaction, because app and
    // seed scripts stand between the re-applied ones in the running order; each is still atomic with its journal row.
    // The whole group runs whenever anything is pending: a migration may have dropped a view or a trigger with its table.
    // A script that sorts before an applied one is run too, as DbUp does: two branches merged in either order.
    private List<ScriptTransaction> Group()
    {
        var due = _options.Scripts.All.Where(s => StatusOf(s).State is ScriptState.Pending or ScriptState.Changed).ToList();
        var removed = Scripts.Any(s => s is { State: ScriptState.Unknown, RunsOnce: false });
        if (due.Count == 0 && !removed)
            return [];

        var rest = _options.Scripts.All.Where(s => !s.RunsOnce || (s.Folder != "migrations" && due.Contains(s))).ToList();
        List<ScriptTransaction> transactions = [.. due.Where(s => s.Folder == "migrations").Select(s => new ScriptTransaction([s], false))];
        if (rest.Count > 0 || removed)
            transactions.Add(new ScriptTransaction(rest, true));
        return transactions;
    }

    private ScriptStatus StatusOf(DbScript script)
    {
        if (script.RunsOnce)
        {
            var entry = _journal.GetValueOrDefault(script.Name);
            var state = entry is null
                ? script.Folder == "app" && _options.WithoutApp ? ScriptState.Skipped : ScriptState.Pending
                : entry.Checksum is null || entry.Checksum == script.Checksum ? ScriptState.Applied : ScriptState.Edited;
            return new ScriptStatus(script.Name, true, state, entry?.AppliedAt);
        }

        var last = _applied.GetValueOrDefault(script.Name);
        var reapplied = last is null ? ScriptState.Pending
            : last.Checksum == script.AppliedChecksum(_options.RolePrefix) ? ScriptState.Applied : ScriptState.Changed;
        return new ScriptStatus(script.Name, false, reapplied, last?.AppliedAt);
    }
}
