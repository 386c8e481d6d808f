namespace CreditDb.Host.Sql;

/// <summary>Cuts SQL text at the semicolons that end statements, as psql does.</summary>
public static class StatementSplitter
{
    /// <summary>The complete statements, without their semicolons, and the text after the last of them.</summary>
    public static (IReadOnlyList<string> Statements, string Remainder) Split(string text)
    {
        var statements = new List<string>();
        var (start, parentheses, blocks) = (0, 0, 0);
        var lastWord = "";
        for (var i = 0; i < text.Length;)
        {
            var next = EndOfToken(text, i);
            switch (text[i])
            {
                case '(':
                    parentheses++;
                    break;
                case ')':
                    parentheses--;
                    break;
                case ';' when parentheses <= 0 && blocks == 0:
                    statements.Add(text[start..i].Trim());
                    (start, parentheses) = (next, 0);
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

    /// <summary>Whether the text holds nothing but white space and comments.</summary>
    public static bool IsBlank(string text)
    {
        for (var i = 0; i < text.Length; i = EndOfToken(text, i))
        {
            if (!char.IsWhiteSpace(text[i]) && !text.AsSpan(i).StartsWith("--") && !text.AsSpan(i).StartsWith("/*"))
                return false;
        }

        return true;
    }

    /// <summary>The words outside of quotes and comments.</summary>
    internal static IEnumerable<string> Words(string text)
    {
        for (int i = 0, next; i < text.Length; i = next)
        {
            next = EndOfToken(text, i);
            if (IsWord(text[i]))
                yield return text[i..next];
        }
    }

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
