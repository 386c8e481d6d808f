using System.CommandLine;
using CreditDb;
using CreditDb.Benchmarks;
using Spectre.Console;

string[] all = ["charge", "batch", "hot", "bulk", "bytes", "http", "age", "verify"];
var scenario = new Argument<string[]>("scenario") { Description = $"Any of {string.Join(", ", all)}; all if none is named.", Arity = ArgumentArity.ZeroOrMore };
scenario.AcceptOnlyFromAmong(all);
var rounds = new Option<int>("--rounds") { Description = "How often each contestant runs.", DefaultValueFactory = _ => 5 };
var seconds = new Option<int>("--seconds") { Description = "How long each run takes.", DefaultValueFactory = _ => 5 };
var hold = new Option<double>("--hold") { Description = "How many seconds the scenario http holds a rate.", DefaultValueFactory = _ => 60 };
var accounts = new Option<int>("--accounts") { Description = "How many accounts there are.", DefaultValueFactory = _ => 100_000 };
var entries = new Option<int>("--entries") { Description = "How many entries the old account of the scenario age has.", DefaultValueFactory = _ => 5_000_000 };
var rows = new Option<int>("--rows") { Description = "How many rows the scenario bulk inserts.", DefaultValueFactory = _ => 20_000 };
var external = new Option<string[]>("--external")
{
    Description = "Another contestant of the scenario charge: name=script.sql,connection string; the script is pgbench's.",
    DefaultValueFactory = _ => [],
};
var page = new Option<FileInfo?>("--page") { Description = "Write the results as Markdown to this file (docs/benchmarks.md)." };
var root = new RootCommand("Measures CreditDb beside what else one would use, on a PostgreSQL of its own.") { scenario, rounds, seconds, hold, accounts, entries, rows, external, page };
root.SetAction(async (arguments, ct) =>
{
    var console = AnsiConsole.Console;
    var wanted = arguments.GetValue(scenario) is { Length: > 0 } named ? named : all;
    var time = TimeSpan.FromSeconds(arguments.GetValue(seconds));
    await using var server = await BenchServer.StartAsync(arguments.GetValue(accounts), step => console.MarkupLineInterpolated($"[grey]{step}[/]"), ct);
    await using var host = await BenchHost.StartAsync(server, ct);
    console.MarkupLine("[grey]wait for the worker's first sweeps[/]");
    await server.FirstSweepsAsync(ct);
    var scenarios = new Scenarios(server, new CreditClient(server.Source), host);
    var others = arguments.GetValue(external)!.Select(text => External.Parse(text, server, 16)).ToList();
    var results = new List<Result>();
    foreach (var name in all.Intersect(wanted))
    {
        var contest = name switch
        {
            "charge" => scenarios.Charges(16, others),
            "batch" => scenarios.Batches(16),
            "hot" => scenarios.Hot(64),
            "bulk" => scenarios.Bulk(arguments.GetValue(rows)),
            "bytes" => scenarios.Bytes(16),
            "http" => scenarios.Http(256),
            "age" => await scenarios.AgeAsync(arguments.GetValue(entries), ct),
            _ => scenarios.Verify(),
        };
        // A rate that was held is no matter of rounds.
        var result = name == "http"
            ? await contest.RunAsync(1, TimeSpan.FromSeconds(arguments.GetValue(hold)), console, ct)
            : await contest.RunAsync(arguments.GetValue(rounds), time, console, ct);
        Report.Show(result, console);
        results.Add(result);
    }

    var lost = wanted.Contains("charge") ? await scenarios.LostByCheckThenActAsync(ct) : (decimal?)null;
    if (lost is { } credits)
        console.MarkupLineInterpolated($"check-then-act lost {credits:N0} credits while it ran.");
    if (await server.ValueAsync<long>("select count(*) from credits.verify_ledger()", ct) is var problems and > 0)
    {
        console.MarkupLineInterpolated($"[red]verify_ledger() found {problems} discrepancies.[/]");
        return 1;
    }

    if (arguments.GetValue(page) is { } file)
        await File.WriteAllTextAsync(file.FullName, Report.Page(results, Report.Settings(server, arguments.GetValue(rounds), arguments.GetValue(seconds), arguments.GetValue(hold)), lost), ct);
    return 0;
});
return await root.Parse(args).InvokeAsync();
