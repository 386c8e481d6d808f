using System.CommandLine;
using CreditDb.Host.Sql;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Host.Commands;

/// <summary>A SQL prompt for machines without psql.</summary>
public static class SqlCommand
{
    private const string Help = """
        Statements end with a semicolon and may span lines.
          \q  quit
          \?  this help
        """;

    public static Command Create()
    {
        var commands = new Option<string[]>("-c", "--command") { Description = "Run these statements and exit (repeatable).", HelpName = "sql" };
        var file = new Option<FileInfo?>("-f", "--file") { Description = "Run the statements of this file and exit." };
        var command = new Command("sql", "Run SQL: -c, -f, standard input, or a prompt.") { Verb.Connection, commands, file };
        command.SetAction(async (result, ct) =>
        {
            // What is typed goes to the server as it is: no @names looked for, no semicolons in function bodies cut at.
            AppContext.SetSwitch("Npgsql.EnableSqlRewriting", false);
            var (output, error) = (result.InvocationConfiguration.Output, result.InvocationConfiguration.Error);
            try
            {
                await using var session = await SqlSession.OpenAsync(ConnectionSettings.Resolve(result.GetValue(Verb.Connection)).ConnectionString, output, error, ct);
                List<string> texts = [.. result.GetValue(commands) ?? []];
                if (result.GetValue(file) is { } script)
                    texts.Add(await File.ReadAllTextAsync(script.FullName, ct));
                if (texts.Count == 0 && Console.IsInputRedirected)
                    texts.Add(await Console.In.ReadToEndAsync(ct));
                if (texts.Count == 0)
                    await PromptAsync(session, output, ct);
                foreach (var text in texts)
                {
                    if (!await session.RunAsync(text, ct))
                        return (int)ExitCode.Error;
                }

                return (int)ExitCode.Ok;
            }
            catch (Exception e) when (e is UsageException or NpgsqlException or IOException or UnauthorizedAccessException)
            {
                await error.WriteLineAsync("error: " + e.Message);
                return (int)(e is UsageException ? ExitCode.Usage : ExitCode.Error);
            }
        });
        return command;
    }

    private static async Task PromptAsync(SqlSession session, TextWriter output, CancellationToken ct)
    {
        CancellationTokenSource? running = null;
        Console.CancelKeyPress += (_, e) =>
        {
            e.Cancel = running is not null;
            running?.Cancel();
        };

        await output.WriteLineAsync(Help);
        for (var pending = ""; ;)
        {
            await output.WriteAsync($"{session.Database}{(pending.Length == 0 ? "=>" : "->")} ");
            if (Console.ReadLine() is not { } line)
                return;

            switch (line.Trim())
            {
                case "\\q" or "quit" or "exit":
                    return;
                case "\\?":
                    await output.WriteLineAsync(Help);
                    continue;
                case ['\\', ..] unknown when pending.Length == 0:
                    await output.WriteLineAsync($"{unknown} is psql's; this prompt knows \\q and \\? only.");
                    continue;
            }

            var (statements, rest) = StatementSplitter.Split(pending + line + "\n");
            pending = StatementSplitter.IsBlank(rest) ? "" : rest;
            foreach (var statement in statements)
            {
                using (running = CancellationTokenSource.CreateLinkedTokenSource(ct))
                    await session.RunStatementAsync(statement.Text, running.Token);
                running = null;
            }
        }
    }
}
