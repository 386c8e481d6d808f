using System.CommandLine;
using CreditDb.Host.PrivatePostgres;
using CreditDb.Migrations;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Spectre.Console;

namespace CreditDb.Host.Commands;

/// <summary>Serves CreditDb from the configured PostgreSQL, or from a private one; the default command.</summary>
public static class ServeCommand
{
    public static Command Create()
    {
        var command = new Command(
            "serve",
            """
            Run CreditDb: on ConnectionStrings__CreditDb if that is set, else on a private PostgreSQL (the default).

            Environment of the private server:
              CREDITDB_DATA  the folder of its data; the other verbs find the server by the same setting
              CREDITDB_PORT  its port (25432; 0 for any free one); where it is taken, another one is picked
            """);
        command.SetAction((_, ct) => RunAsync(ct));
        return command;
    }

    private static async Task<int> RunAsync(CancellationToken ct)
    {
        var console = AnsiConsole.Console;

        // Lines are for copying: the terminal may wrap them, this program must not.
        console.Profile.Width = 10_000;

        var builder = new HostApplicationBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(90));
        builder.Services.AddSingleton(console);
        builder.Services.AddSingleton<DatabaseService>();
        builder.Services.AddHostedService(services => services.GetRequiredService<DatabaseService>());

        using var host = builder.Build();
        var database = host.Services.GetRequiredService<DatabaseService>();
        try
        {
            await host.RunAsync(ct);
        }
        catch (OperationCanceledException)
        {
            // Stopped while starting.
        }
        catch (Exception e) when (e is PrivatePostgresException or MigrationException or Npgsql.NpgsqlException or UnauthorizedAccessException or IOException)
        {
            await Console.Error.WriteLineAsync("error: " + e.Message);
            return 1;
        }

        if (database.Failure is not { } failure)
            return 0;
        await Console.Error.WriteLineAsync("error: " + failure);
        return 1;
    }
}
