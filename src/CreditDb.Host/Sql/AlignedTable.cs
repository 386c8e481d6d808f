namespace CreditDb.Host.Sql;

/// <summary>A result set as psql prints it.</summary>
internal sealed class AlignedTable(IReadOnlyList<string> headers, IReadOnlyList<bool> toTheRight)
{
    private readonly List<string[][]> _rows = [];

    public void Add(IEnumerable<string?> values) =>
        _rows.Add([.. values.Select(value => (value ?? "").ReplaceLineEndings("\n").Replace("\t", "    ", StringComparison.Ordinal).Split('\n'))]);

    public void WriteTo(TextWriter writer)
    {
        var widths = headers.Select((header, i) => _rows.SelectMany(row => row[i]).Select(Width).Append(Width(header)).Max()).ToArray();
        writer.WriteLine(string.Join('|', headers.Select((header, i) => $" {Centered(header, widths[i])} ")));
        writer.WriteLine(string.Join('+', widths.Select(width => new string('-', width + 2))));
        foreach (var row in _rows)
        {
            var height = row.Max(lines => lines.Length);
            for (var line = 0; line < height; line++)
                writer.WriteLine(string.Join('|', row.Select((lines, i) => Cell(lines, line, widths[i], toTheRight[i]))).TrimEnd(' '));
        }

        writer.WriteLine(_rows.Count == 1 ? "(1 row)" : $"({_rows.Count} rows)");
        writer.WriteLine();
    }

    // A plus sign says that the value goes on in the next line.
    private static string Cell(string[] lines, int line, int width, bool toTheRight)
    {
        var text = line < lines.Length ? lines[line] : "";
        var padding = new string(' ', width - Width(text));
        return $" {(toTheRight ? padding + text : text + padding)}{(line < lines.Length - 1 ? '+' : ' ')}";
    }

    private static string Centered(string text, int width)
    {
        var left = (width - Width(text)) / 2;
        return new string(' ', left) + text + new string(' ', width - Width(text) - left);
    }

    private static int Width(string text) => text.EnumerateRunes().Count();
}
