using System.CommandLine;
using System.Net;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using CreditDb.Host.Access;
using CreditDb.Host.Live;
using CreditDb.Host.Operations;
using CreditDb.Host.Payments;
using CreditDb.Host.PrivatePostgres;
using CreditDb.Host.Webhooks;
using CreditDb.Host.Work;
using CreditDb.Migrations;
using Microsoft.Extensions.Options;
using Npgsql;
using Spectre.Console;

namespace CreditDb.Host.Commands;

/// <summary>Serves CreditDb from the configured PostgreSQL, or from a private one; the default command.</summary>
internal static partial class ServeCommand
{
    /// <summary>What a setting's name may begin with, or be: ours, and the framework's.</summary>
    private static readonly string[] Sections =
    [
        AccessOptions.Section, DatabaseOptions.Section, LiveOptions.Section, OperationsOptions.Section, PaymentOptions.Section, WebhookOptions.Section,
        WorkerOptions.Section, "ConnectionStrings", "Urls", "Logging", "Kestrel", "AllowedHosts", "HTTP_PORTS", "HTTPS_PORTS", "Environment", "ContentRoot",
        "ApplicationName",
    ];

    public static Command Create()
    {
        var command = new Command(
            "serve",
            """
            Run CreditDb: on ConnectionStrings__CreditDb if that is set, else on a private PostgreSQL (the default).

            Every setting of docs/configuration.md can follow, as --Section:Name=value.

            Environment of the private server:
              CREDITDB_DATA  the folder of its data; the other verbs find the server by the same setting
              CREDITDB_PORT  its port (25432; 0 for any free one); where it is taken, another one is picked
            """);
        // Settings as on any ASP.NET command line: --Section:Name=value.
        command.TreatUnmatchedTokensAsErrors = false;
        command.SetAction((arguments, ct) => RunAsync([.. arguments.UnmatchedTokens], ct));
        return command;
    }

    private static async Task<int> RunAsync(string[] settings, CancellationToken ct)
    {
        if (settings.FirstOrDefault(s => !Setting().IsMatch(s)) is { } wrong)
        {
            await Console.Error.WriteLineAsync($"error: {wrong} is neither a command nor a setting. Settings look like --Urls=http://127.0.0.1:5080; serve --help tells more.");
            return (int)ExitCode.Usage;
        }

        if (settings.Select(s => Setting().Match(s).Groups[1].Value).FirstOrDefault(name => !IsKnown(name)) is { } unknown)
        {
            await Console.Error.WriteLineAsync($"error: There is no setting, and no section of settings, named {unknown}; docs/configuration.md lists them.");
            return (int)ExitCode.Usage;
        }

        var console = AnsiConsole.Console;

        // Lines are for copying: the terminal may wrap them, this program must not.
        console.Profile.Width = 10_000;

        try
        {
            var builder = HostApp.CreateBuilder(settings);
            await using var database = new Database(builder.Configuration, console);
            await using var app = HostApp.Build(builder, database);
            // Before a server is started for it, or a database migrated.
            app.Services.GetRequiredService<IStartupValidator>().Validate();
            CheckUrls(builder.Configuration["Urls"]);
            await StartDatabaseAsync(database, ct);
            if (database.IsPrivate)
                await MakeFirstKeyAsync(app.Services.GetRequiredService<ApiKeys>(), console, ct);
            app.Lifetime.ApplicationStarted.Register(() =>
            {
                foreach (var line in database.Describe(app.Urls))
                    console.WriteLine(line);
            });
            var watch = app.Services.GetRequiredService<DatabaseWatch>();
            await StartAsync(app, ct);
            await app.WaitForShutdownAsync(ct);
            if (watch.Failure is not { } failure)
                return (int)ExitCode.Ok;
            await Console.Error.WriteLineAsync("error: " + failure);
        }
        catch (OperationCanceledException)
        {
            // Stopped while starting.
            return (int)ExitCode.Ok;
        }
        catch (MigrationException e)
        {
            await Console.Error.WriteLineAsync("error: " + e.Message);
            return (int)Verb.CodeOf(e.Problem);
        }
        catch (Exception e) when (SettingProblem.Is(e) || e is PrivatePostgresException or NpgsqlException or UnauthorizedAccessException or IOException
            or FormatException)
        {
            await Console.Error.WriteLineAsync("error: " + SettingProblem.Text(e));
        }

        return (int)ExitCode.Error;
    }

    private static void CheckUrls(string? urls)
    {
        foreach (var url in (urls ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (BindingAddress.Parse(url).Port > IPEndPoint.MaxPort)
                throw new FormatException($"Invalid url: '{url}', as no port is above {IPEndPoint.MaxPort}");
        }
    }

    /// <summary>Where it cannot start, for want of its port perhaps, it stops: what had begun is not taken for failed.</summary>
    private static async Task StartAsync(WebApplication app, CancellationToken ct)
    {
        try
        {
            await app.StartAsync(ct);
        }
        catch
        {
            app.Lifetime.StopApplication();
            throw;
        }
    }

    /// <summary>Until the web host runs, and stops on signals itself, a signal cancels what is being started.</summary>
    private static async Task StartDatabaseAsync(Database database, CancellationToken ct)
    {
        using var starting = CancellationTokenSource.CreateLinkedTokenSource(ct);
        void Cancel(PosixSignalContext signal)
        {
            signal.Cancel = true;
            starting.Cancel();
        }

        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel);
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel);
        await database.StartAsync(starting.Token);
    }

    /// <summary>Nobody could call the API of a private server otherwise.</summary>
    private static async Task MakeFirstKeyAsync(ApiKeys keys, IAnsiConsole console, CancellationToken ct)
    {
        if ((await keys.ListAsync(ct)).Count > 0)
            return;
        var key = await keys.CreateAsync("first operator", ["admin"], null, null, "serve", ct);
        console.WriteLine($"An admin key was made. It is not shown again: {key.Key}");
    }

    private static bool IsKnown(string name) => Sections.Contains(name, StringComparer.OrdinalIgnoreCase)
        || name.StartsWith("CREDITDB_", StringComparison.OrdinalIgnoreCase) || name.StartsWith("OTEL_", StringComparison.OrdinalIgnoreCase);

    [GeneratedRegex("^--([A-Za-z][A-Za-z0-9_.-]*)(:[A-Za-z0-9_:.-]*)?=")]
    private static partial Regex Setting();
}
