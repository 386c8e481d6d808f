using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using CreditDb.Migrations;
using Spectre.Console;

namespace CreditDb.Host.Commands;

/// <summary>Text for people, or one JSON document; plain text where the output is redirected.</summary>
internal sealed class Output(bool json) : IProgress<MigrationProgress>
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    private readonly IAnsiConsole _error = Open(Console.Error, Console.IsErrorRedirected);
    private readonly IAnsiConsole _console = json ? Open(Console.Error, Console.IsErrorRedirected) : Open(Console.Out, Console.IsOutputRedirected);

    public void Document(object document)
    {
        if (json)
            Console.Out.WriteLine(JsonSerializer.Serialize(document, Format));
    }

    /// <summary>A text for another program or a file, as it is.</summary>
    public void Text(string text)
    {
        if (!json)
            Console.Out.Write(text);
    }

    public void Line(string text, string style = "default") => _console.MarkupLineInterpolated($"[{style}]{text}[/]");

    public void Error(string text) => _error.MarkupLineInterpolated($"[red]{text}[/]");

    public void Table(string[] columns, IEnumerable<string?[]> rows)
    {
        var table = new Table { Border = _console.Profile.Capabilities.Ansi ? TableBorder.Rounded : TableBorder.None };
        foreach (var column in columns)
            table.AddColumn(new TableColumn(new Text(column)).NoWrap());
        foreach (var row in rows)
            table.AddRow(row.Select(cell => new Text(cell ?? "")));
        _console.Write(table);
    }

    public void Report(MigrationProgress value)
    {
        if (value.Kind == MigrationProgressKind.Committed)
            return;
        var style = value.Kind switch
        {
            MigrationProgressKind.Running => "grey",
            MigrationProgressKind.Notice => "blue",
            _ => "yellow",
        };
        Line(value.Kind == MigrationProgressKind.Notice && value.Script is { } script ? $"{script}: {value.Message}" : value.Message, style);
    }

    private static IAnsiConsole Open(TextWriter writer, bool redirected)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = redirected ? AnsiSupport.No : AnsiSupport.Detect,
        });
        if (redirected)
            console.Profile.Width = 1000;
        return console;
    }
}
