using System.Text.RegularExpressions;

namespace CreditDb.Migrations;

/// <summary>One statement of a script and where it starts in the script's text.</summary>
internal sealed record SqlStatement(string Text, int Start);

/// <summary>Splits a script at its top-level semicolons, as DbUp and psql do, so that an error can be given its line.</summary>
internal static partial class SqlStatements
{
    public static IReadOnlyList<SqlStatement> Split(string sql)
    {
        var statements = new List<SqlStatement>();
        var start = -1;
        var i = 0;
        while (i < sql.Length)
        {
            var token = NextToken(sql, i);
            var blank = char.IsWhiteSpace(sql[i]) || IsComment(sql, i);
            if (sql[i] == ';')
            {
                if (start >= 0)
                    statements.Add(new SqlStatement(sql[start..i], start));
                start = -1;
            }
            else if (start < 0 && !blank)
            {
                start = i;
            }

            i = token;
        }

        if (start >= 0)
            statements.Add(new SqlStatement(sql[start..].TrimEnd(), start));
        return statements;
    }

    /// <summary>True for statements that would end the transaction in which the migrator runs a script.</summary>
    public static bool ControlsTransaction(string statement) => TransactionControl.IsMatch(statement);

    private static bool IsComment(string sql, int i) => At(sql, i, "--") || At(sql, i, "/*");

    /// <summary>The index just after the token at <paramref name="i"/>; quoted text and comments are one token.</summary>
    private static int NextToken(string sql, int i)
    {
        if (At(sql, i, "--"))
            return After(sql, "\n", i);
        if (At(sql, i, "/*"))
            return AfterBlockComment(sql, i);
        if (At(sql, i, "$$"))
            return After(sql, "$$", i + 2);
        if (sql[i] == '"')
            return After(sql, "\"", i + 1);
        if (sql[i] == '\'')
            return AfterString(sql, i);

        var end = i + 1;
        if (IsWord(sql[i]))
        {
            while (end < sql.Length && IsWord(sql[end]))
                end++;
        }

        return end;
    }

    private static int AfterString(string sql, int i)
    {
        var escapes = i > 0 && sql[i - 1] is 'e' or 'E' && (i == 1 || !IsWord(sql[i - 2]));
        for (var end = i + 1; end < sql.Length; end++)
        {
            if (escapes && sql[end] == '\\')
                end++;
            else if (sql[end] == '\'')
                return end + 1;
        }

        return sql.Length;
    }

    private static int AfterBlockComment(string sql, int i)
    {
        var depth = 0;
        while (i < sql.Length)
        {
            if (At(sql, i, "/*"))
            {
                depth++;
                i += 2;
            }
            else if (At(sql, i, "*/"))
            {
                i += 2;
                if (--depth == 0)
                    return i;
            }
            else
            {
                i++;
            }
        }

        return i;
    }

    private static int After(string sql, string end, int from) =>
        sql.IndexOf(end, from, StringComparison.Ordinal) is >= 0 and var found ? found + end.Length : sql.Length;

    private static bool At(string sql, int i, string token) => string.CompareOrdinal(sql, i, token, 0, token.Length) == 0;

    private static bool IsWord(char c) => char.IsLetterOrDigit(c) || c is '_';

    [GeneratedRegex(@"^(begin|commit|rollback|abort|end|start\s+transaction|prepare\s+transaction)\b", RegexOptions.IgnoreCase)]
    private static partial Regex TransactionControl { get; }
}
