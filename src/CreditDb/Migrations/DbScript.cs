using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace CreditDb.Migrations;

/// <summary>One SQL script: its relative path with forward slashes, and its text with line feeds only.</summary>
public sealed partial record DbScript
{
    /// <summary>Creates a script; a byte order mark is dropped and line endings become line feeds.</summary>
    public DbScript(string path, string text)
    {
        Path = path.Replace('\\', '/');
        Text = text.TrimStart('\uFEFF').Replace("\r\n", "\n").Replace('\r', '\n');
        Checksum = Hash(Text);
    }

    /// <summary>The path below the folder of scripts, for example <c>migrations/0001_schema.sql</c>.</summary>
    public string Path { get; }

    /// <summary>The script's text, before variables are replaced.</summary>
    public string Text { get; }

    /// <summary>SHA-256 of <see cref="Text"/>, lowercase hexadecimal.</summary>
    public string Checksum { get; }

    /// <summary>The name in the journal, the same that DbUp gives: <c>migrations.0001_schema.sql</c>.</summary>
    public string Name => Path.Replace('/', '.');

    /// <summary>The first folder of the path.</summary>
    public string Folder => Path[..Math.Max(0, Path.IndexOf('/'))];

    /// <summary>True for a script that runs once and is journaled, false for one that is re-applied when it changes.</summary>
    public bool RunsOnce => Folder is "migrations" or "app" or "seed";

    /// <summary>The text with <c>$role_prefix$</c> replaced.</summary>
    /// <exception cref="MigrationException">The script uses another variable.</exception>
    internal string Render(string rolePrefix) => Variable.Replace(Text, match => match.Value == "$role_prefix$"
        ? rolePrefix
        : throw new MigrationException(
            MigrationProblem.InvalidScript,
            $"{Name} uses {match.Value}: only $role_prefix$ is replaced, and DbUp takes this for a variable too. Quote bodies with plain $$.")
        {
            Script = Name,
            Line = LineAt(Text, match.Index),
        });

    /// <summary>The rendered statements.</summary>
    /// <exception cref="MigrationException">The script uses an unknown variable or ends its transaction.</exception>
    internal IReadOnlyList<SqlStatement> Statements(string rolePrefix)
    {
        var text = Render(rolePrefix);
        var statements = StatementSplitter.SplitAll(text);
        return statements.FirstOrDefault(s => StatementSplitter.ControlsTransaction(s.Text)) is not { } control
            ? statements
            : throw new MigrationException(
                MigrationProblem.InvalidScript,
                $"{Name} contains \"{control.Text.Split('\n')[0]}\": the transaction belongs to whoever runs the script.")
            {
                Script = Name,
                Line = LineAt(text, control.Start),
            };
    }

    /// <summary>A re-applied script also counts as changed when the roles it names do.</summary>
    internal string AppliedChecksum(string rolePrefix) => Hash($"{rolePrefix}\n{Text}");

    internal static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    internal static int LineAt(string text, int index) => text.AsSpan(0, Math.Min(index, text.Length)).Count('\n') + 1;

    [GeneratedRegex(@"\$[\w-]+\$")]
    private static partial Regex Variable { get; }
}
