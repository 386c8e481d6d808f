using System.Text.RegularExpressions;

namespace CreditDb.Migrations;

/// <summary>How a <see cref="Migrator"/> works. The defaults suit production.</summary>
public sealed partial record MigratorOptions
{
    /// <summary>The scripts; those of this library unless told otherwise.</summary>
    public DbScripts Scripts { get; init; } = DbScripts.Embedded;

    /// <summary>The prefix of the database roles: a lowercase letter, then up to 40 lowercase letters, digits and underscores.</summary>
    /// <exception cref="ArgumentException">The prefix is not of that form.</exception>
    public string RolePrefix
    {
        get;
        init => field = ValidPrefix.IsMatch(value)
            ? value
            : throw new ArgumentException("A role prefix is a lowercase letter, then up to 40 lowercase letters, digits and underscores.", nameof(RolePrefix));
    } = "creditdb";

    /// <summary>Leaves out the scripts of the folder <c>app</c> that have not been applied yet.</summary>
    public bool WithoutApp { get; init; }

    /// <summary>How long a statement may wait for a lock, and so how long the application may queue behind it.</summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How often a transaction is tried that loses a lock, a deadlock or a race with another database's migration.</summary>
    public int Tries { get; init; } = 10;

    /// <summary>The release that is recorded in the database; a later one recorded there is refused.</summary>
    public Version Release { get; init => field = new Version(value.Major, value.Minor, Math.Max(0, value.Build)); } =
        new(typeof(MigratorOptions).Assembly.GetName().Version!.ToString(3));

    /// <summary>Measures the pauses between tries.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    [GeneratedRegex("^[a-z][a-z0-9_]{0,40}\\z")]
    private static partial Regex ValidPrefix { get; }
}
