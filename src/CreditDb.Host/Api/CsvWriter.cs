using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;

namespace CreditDb.Host.Api;

/// <summary>CSV by RFC 4180, in UTF-8, into a pipe.</summary>
internal sealed class CsvWriter(PipeWriter pipe)
{
    private const int Full = 32 * 1024;

    private static readonly SearchValues<char> Quoted = SearchValues.Create(",\"\r\n");

    public void Row(params ReadOnlySpan<object?> fields)
    {
        for (var n = 0; n < fields.Length; n++)
        {
            if (n > 0)
                Write(",");
            Write(Field(fields[n]));
        }

        Write("\r\n");
    }

    public bool IsFull => pipe.UnflushedBytes >= Full;

    public ValueTask<FlushResult> FlushAsync(CancellationToken ct) => pipe.FlushAsync(ct);

    internal static string Field(object? value) => value switch
    {
        null => "",
        string text => Text(text),
        DateTimeOffset moment => moment.UtcDateTime.ToString("O", CultureInfo.InvariantCulture),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => Text(value.ToString()!),
    };

    private static string Text(string text)
    {
        // A spreadsheet would run what looks like a formula.
        if (text is ['=' or '+' or '-' or '@' or '\t' or '\r' or '\n', ..])
            text = "'" + text;
        return text.AsSpan().ContainsAny(Quoted) ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;
    }

    private void Write(string text) => Encoding.UTF8.GetBytes(text, pipe);
}
