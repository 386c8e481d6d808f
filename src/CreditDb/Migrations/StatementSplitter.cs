namespace CreditDb.Migrations;

/// <summary>One statement of a text, without its semicolon and the comments before it, and where it starts in the text.</summary>
internal sealed record SqlStatement(string Text, int Start);

/// <summary>Cuts SQL text at the semicolons that end statements, as psql does.</summary>
internal static class StatementSplitter
{
    /// <summary>The complete statements, and the text after the last of them.</summary>
    public static (IReadOnlyList<SqlStatement> Statements, string Remainder) Split(string text)
    {
        var statements = new List<SqlStatement>();
        var (start, first, parentheses, blocks) = (0, -1, 0, 0);
        var lastWord = "";
        for (var i = 0; i < text.Length;)
        {
            var next = EndOfToken(text, i);
            if (first < 0 && text[i] != ';' && !IsBlank(text, i))
                first = i;
            switch (text[i])
            {
                case '(':
                    parentheses++;
                    break;
                case ')':
                    parentheses--;
                    break;
                case ';' when parentheses <= 0 && blocks == 0:
                    if (first >= 0)
                        statements.Add(new SqlStatement(text[first..i].TrimEnd(), first));
                    (start, first, parentheses) = (next, -1, 0);
                    break;
                case var c when IsWord(c):
                    var word = text[i..next].ToUpperInvariant();

                    // The body of a function in standard SQL: begin atomic …; …; end.
                    if (lastWord == "BEGIN" && word == "ATOMIC" || blocks > 0 && word == "CASE")
                        blocks++;
                    else if (blocks > 0 && word == "END")
                        blocks--;
                    lastWord = word;
                    break;
            }

            i = next;
        }

        return (statements, text[start..]);
    }

    /// <summary>All statements of a script, the last with or without its semicolon.</summary>
    public static IReadOnlyList<SqlStatement> SplitAll(string text)
    {
        var (statements, rest) = Split(text);
        if (IsBlank(rest))
            return statements;
        var first = text.Length - rest.Length;
        while (IsBlank(text, first))
            first = EndOfToken(text, first);
        return [.. statements, new SqlStatement(text[first..].TrimEnd(), first)];
    }

    /// <summary>Whether the text holds nothing but white space and comments.</summary>
    public static bool IsBlank(string text)
    {
        for (var i = 0; i < text.Length; i = EndOfToken(text, i))
        {
            if (!IsBlank(text, i))
                return false;
        }

        return true;
    }

    /// <summary>Whether this would end the transaction in which a script runs.</summary>
    public static bool ControlsTransaction(string statement) => Words(statement).Take(2).Select(word => word.ToUpperInvariant()).ToArray() is
        ["BEGIN" or "COMMIT" or "ROLLBACK" or "ABORT" or "END", ..] or ["START" or "PREPARE", "TRANSACTION"];

    /// <summary>The words outside of quotes and comments.</summary>
    public static IEnumerable<string> Words(string text)
    {
        for (int i = 0, next; i < text.Length; i = next)
        {
            next = EndOfToken(text, i);
            if (IsWord(text[i]))
                yield return text[i..next];
        }
    }

    private static bool IsBlank(string text, int i) =>
        char.IsWhiteSpace(text[i]) || text.AsSpan(i).StartsWith("--") || text.AsSpan(i).StartsWith("/*");

    private static int EndOfToken(string text, int i) => text[i] switch
    {
        '\'' => EndOfQuoted(text, i, escapes: i > 0 && text[i - 1] is 'e' or 'E' && (i == 1 || !IsWord(text[i - 2]))),
        '"' => EndOfQuoted(text, i, escapes: false),
        '$' => EndOfDollarQuoted(text, i),
        '-' when text.AsSpan(i).StartsWith("--") => After(text, "\n", i),
        '/' when text.AsSpan(i).StartsWith("/*") => EndOfBlockComment(text, i),
        var c when IsWord(c) => EndOfWord(text, i),
        _ => i + 1,
    };

    private static int EndOfQuoted(string text, int i, bool escapes)
    {
        var quote = text[i++];
        while (i < text.Length && text[i] != quote)
            i += escapes && text[i] == '\\' ? 2 : 1;
        return Math.Min(i + 1, text.Length);
    }

    private static int EndOfDollarQuoted(string text, int i)
    {
        var end = i + 1;
        while (end < text.Length && (char.IsLetterOrDigit(text[end]) || text[end] == '_'))
            end++;

        // $1 is a parameter, not a quote.
        var isQuote = end < text.Length && text[end] == '$' && !char.IsAsciiDigit(text[i + 1]);
        return isQuote ? After(text, text[i..(end + 1)], end + 1) : i + 1;
    }

    private static int EndOfBlockComment(string text, int i)
    {
        for (var depth = 0; i < text.Length;)
        {
            if (text.AsSpan(i).StartsWith("/*"))
                (depth, i) = (depth + 1, i + 2);
            else if (text.AsSpan(i).StartsWith("*/"))
                (depth, i) = (depth - 1, i + 2);
            else
                i++;
            if (depth == 0)
                break;
        }

        return i;
    }

    private static int EndOfWord(string text, int i)
    {
        while (i < text.Length && (IsWord(text[i]) || text[i] == '$'))
            i++;
        return i;
    }

    private static int After(string text, string mark, int from)
    {
        var at = text.IndexOf(mark, from, StringComparison.Ordinal);
        return at < 0 ? text.Length : at + mark.Length;
    }

    private static bool IsWord(char c) => char.IsLetterOrDigit(c) || c == '_';
}
