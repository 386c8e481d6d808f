using System.CommandLine;
using System.Text.Json;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Host.Commands;

/// <summary>What the verbs that work on a database have in common: their options, and how an outcome becomes an exit code.</summary>
internal sealed class Verb(ParseResult arguments, string name, Output output, NpgsqlDataSource dataSource)
{
    public static readonly Option<string?> Connection = new("--connection")
    {
        Description = "Connection string; else ConnectionStrings__CreditDb (or appsettings.json), else the private server that runs under CREDITDB_DATA.",
    };

    public static readonly Option<bool> Json = new("--json") { Description = "Write one JSON document; progress goes to standard error." };

    public static readonly Option<bool> WithoutApp = new("--without-app")
    {
        Description = "Leave out the reference tables of the application (folder app); to be given every time.",
    };

    public static readonly Option<string> RolePrefix = new("--role-prefix")
    {
        Description = "Prefix of the database roles; the same for the life of a database.",
        DefaultValueFactory = _ => "creditdb",
    };

    public static readonly Option<DirectoryInfo?> From = new("--from")
    {
        Description = "Take the scripts from this folder instead of the built-in ones.",
    };

    public ParseResult Arguments => arguments;

    public Output Output => output;

    public NpgsqlDataSource DataSource => dataSource;

    /// <summary>Makes a command of a description, options and what it does.</summary>
    public static Command Create(
        string name, string description, IEnumerable<Option> options, Func<Verb, CancellationToken, Task<ExitCode>> run, string? parent = null)
    {
        var fullName = parent is null ? name : $"{parent} {name}";
        var command = new Command(name, description) { Connection, Json };
        foreach (var option in options)
            command.Add(option);
        command.SetAction(async (arguments, cancellationToken) => (int)await RunAsync(arguments, fullName, run, cancellationToken));
        return command;
    }

    public Migrator CreateMigrator()
    {
        try
        {
            return new Migrator(dataSource, new MigratorOptions
            {
                Scripts = arguments.GetValue(From) is { } folder ? DbScripts.FromFolder(folder.FullName) : DbScripts.Embedded,
                RolePrefix = arguments.GetValue(RolePrefix)!,
                WithoutApp = arguments.GetValue(WithoutApp),
            });
        }
        catch (Exception e) when (e is ArgumentException or DirectoryNotFoundException)
        {
            throw new UsageException(e.Message);
        }
    }

    /// <summary>Writes the JSON document of an outcome; nothing without --json.</summary>
    public ExitCode Finish(ExitCode code, object result)
    {
        output.Document(new { command = name, exitCode = (int)code, result });
        return code;
    }

    private static async Task<ExitCode> RunAsync(
        ParseResult arguments, string name, Func<Verb, CancellationToken, Task<ExitCode>> run, CancellationToken cancellationToken)
    {
        var output = new Output(arguments.GetValue(Json));
        ExitCode Fail(ExitCode code, object error, string message)
        {
            output.Error(message);
            output.Document(new { command = name, exitCode = (int)code, error });
            return code;
        }

        try
        {
            var settings = ConnectionSettings.Resolve(arguments.GetValue(Connection));
            settings.ApplicationName ??= $"creditdb {name}";
            settings.IncludeErrorDetail = true;
            await using var dataSource = NpgsqlDataSource.Create(settings);
            return await run(new Verb(arguments, name, output, dataSource), cancellationToken);
        }
        catch (UsageException e)
        {
            return Fail(ExitCode.Usage, new { problem = "usage", message = e.Message }, e.Message);
        }
        catch (MigrationException e)
        {
            return Fail(
                CodeOf(e.Problem),
                new { e.Problem, e.Message, e.Script, e.Line, e.SqlState, e.Detail, e.Hint },
                string.Join('\n', new[] { e.Message, e.Detail, e.Hint }.Where(text => text is not null)));
        }
        catch (CreditException e)
        {
            return Fail(e is InvalidArgumentException ? ExitCode.Usage : ExitCode.Error, new { problem = e.Code, e.Message, e.Detail }, Told(e));
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.InvalidSchemaName or PostgresErrorCodes.UndefinedFunction)
        {
            return Fail(ExitCode.Pending, new { problem = "notMigrated" }, "The database is not migrated to this release. Run migrate first.");
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return Fail(ExitCode.Error, new { problem = "cancelled" }, "Cancelled. What was committed stays; the next run continues.");
        }
        catch (PostgresException e)
        {
            return Fail(ExitCode.Error, new { problem = "error", message = e.MessageText, e.SqlState }, $"{e.MessageText} (SQLSTATE {e.SqlState})");
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or IOException or UnauthorizedAccessException)
        {
            return Fail(ExitCode.Error, new { problem = "error", message = e.Message }, e.Message);
        }
    }

    /// <summary>The engine's words, and which argument it means.</summary>
    private static string Told(CreditException e)
    {
        if (e is not InvalidArgumentException || e.Detail is not { } detail)
            return e.Message;
        var fields = JsonDocument.Parse(detail).RootElement;
        return $"{fields.GetProperty("argument").GetString()!.Replace("p_", "", StringComparison.Ordinal).Replace('_', ' ')} {fields.GetProperty("problem").GetString()}.";
    }

    public static ExitCode CodeOf(MigrationProblem problem) => problem switch
    {
        MigrationProblem.ScriptEdited => ExitCode.ScriptEdited,
        MigrationProblem.DatabaseNewer => ExitCode.DatabaseNewer,
        MigrationProblem.RolePrefixDiffers => ExitCode.RolePrefixDiffers,
        MigrationProblem.RollbackRefused => ExitCode.RollbackRefused,
        MigrationProblem.Busy => ExitCode.Busy,
        MigrationProblem.Pending => ExitCode.Pending,
        _ => ExitCode.ScriptFailed,
    };
}
