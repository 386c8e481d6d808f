using Npgsql;

namespace CreditDb.Host.Sql;

/// <summary>The line after a statement without rows. The driver keeps a tag's kind and count but not its text, so that is told from the statement.</summary>
internal static class CommandTag
{
    private static readonly HashSet<string> Modifiers =
        ["OR", "REPLACE", "TEMP", "TEMPORARY", "GLOBAL", "LOCAL", "UNLOGGED", "UNIQUE", "RECURSIVE", "TRUSTED", "PROCEDURAL", "CONSTRAINT"];

    private static readonly HashSet<string> TwoWords =
        ["MATERIALIZED VIEW", "FOREIGN TABLE", "EVENT TRIGGER", "ACCESS METHOD", "USER MAPPING", "OPERATOR CLASS", "OPERATOR FAMILY",
         "DEFAULT PRIVILEGES", "LARGE OBJECT"];

    public static string Of(IReadOnlyList<string> words, StatementType kind, ulong rows) => kind switch
    {
        StatementType.Insert => $"INSERT 0 {rows}",
        StatementType.Update => $"UPDATE {rows}",
        StatementType.Delete => $"DELETE {rows}",
        StatementType.Merge => $"MERGE {rows}",
        StatementType.Move => $"MOVE {rows}",
        StatementType.Copy => $"COPY {rows}",
        StatementType.Select or StatementType.CreateTableAs => $"SELECT {rows}",
        StatementType.Call => "CALL",
        _ => OfWords([.. words]),
    };

    private static string OfWords(string[] words) => words switch
    {
        ["CREATE" or "ALTER" or "DROP", .. var rest] => $"{words[0]} {ObjectType([.. rest.SkipWhile(Modifiers.Contains)])}",
        ["START", ..] => "START TRANSACTION",
        ["END", ..] => "COMMIT",
        ["ABORT", ..] => "ROLLBACK",
        ["TRUNCATE", ..] => "TRUNCATE TABLE",
        ["LOCK", ..] => "LOCK TABLE",
        ["SET", "CONSTRAINTS", ..] => "SET CONSTRAINTS",
        ["REFRESH", ..] => "REFRESH MATERIALIZED VIEW",
        [var first, ..] => first,
        [] => "",
    };

    private static string ObjectType(string[] words)
    {
        var pair = string.Join(' ', words.Take(2));
        return TwoWords.Contains(pair) ? pair : words.FirstOrDefault("");
    }
}
