using System.Text;

namespace CreditDb.Migrations;

/// <summary>A set of scripts: what is run, in running order, and the down scripts that undo it.</summary>
public sealed class DbScripts
{
    // The running order: roles before app, triggers and seed, whose statements run functions that need their tables to belong
    // to the owner role. Scripts of other folders belong to somebody else and are left alone.
    private static readonly string[] Folders = ["migrations", "functions", "views", "roles", "app", "triggers", "seed"];

    private const string RollbackFolder = "rollback/";

    private readonly Dictionary<string, DbScript> _byName;
    private readonly Dictionary<string, DbScript> _down;

    /// <summary>Creates a set from scripts in any order.</summary>
    /// <exception cref="MigrationException">Two scripts have the same journal name.</exception>
    public DbScripts(IEnumerable<DbScript> scripts)
    {
        var all = scripts.ToList();
        if (all.GroupBy(s => s.Name).FirstOrDefault(g => g.Count() > 1) is { } twins)
            throw new MigrationException(MigrationProblem.InvalidScript, $"Two scripts have the journal name {twins.Key}.");

        All = [.. Folders.SelectMany(folder => all.Where(s => s.Folder == folder).OrderBy(s => s.Name, StringComparer.Ordinal))];
        _byName = All.ToDictionary(s => s.Name);
        _down = all.Where(s => s.Path.StartsWith(RollbackFolder, StringComparison.Ordinal))
            .ToDictionary(s => s.Path[RollbackFolder.Length..]);
    }

    /// <summary>The scripts that this library carries.</summary>
    public static DbScripts Embedded { get; } = new(ReadEmbedded());

    /// <summary>The scripts that are run, in running order.</summary>
    public IReadOnlyList<DbScript> All { get; }

    /// <summary>Reads the scripts below a folder.</summary>
    public static DbScripts FromFolder(string path) => new(
        Directory.EnumerateFiles(path, "*.sql", SearchOption.AllDirectories)
            .Select(file => new DbScript(Path.GetRelativePath(path, file), File.ReadAllText(file))));

    internal DbScript? Find(string name) => _byName.GetValueOrDefault(name);

    internal DbScript? FindDown(string name) => _down.GetValueOrDefault(name);

    internal static bool IsOnceName(string name) =>
        name.StartsWith("migrations.", StringComparison.Ordinal)
        || name.StartsWith("app.", StringComparison.Ordinal)
        || name.StartsWith("seed.", StringComparison.Ordinal);

    private static IEnumerable<DbScript> ReadEmbedded()
    {
        var assembly = typeof(DbScripts).Assembly;
        foreach (var name in assembly.GetManifestResourceNames().Where(n => n.EndsWith(".sql", StringComparison.Ordinal)))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!, Encoding.UTF8);
            yield return new DbScript(name, reader.ReadToEnd());
        }
    }
}
