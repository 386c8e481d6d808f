using System.CommandLine;
using CreditDb.Host.Commands;

var serve = ServeCommand.Create();
var sql = SqlCommand.Create();
var root = new RootCommand($"CreditDb: usage credits inside your own PostgreSQL.\n\n{ExitCodes.Help}")
{
    serve,
    MigrateCommand.Create(),
    StatusCommand.Create(),
    RollbackCommand.Create(),
    VerifyCommand.Create(),
    WorkCommand.Create(),
    DocsCommand.Create(),
    KeysCommand.Create(),
    sql,
};
root.Action = serve.Action;
root.TreatUnmatchedTokensAsErrors = false;

var arguments = root.Parse(args);
var configuration = new InvocationConfiguration();
if (arguments.Action == serve.Action || arguments.CommandResult.Command == sql)
{
    // The generic host handles Ctrl+C and SIGTERM, and takes as long as the database needs to stop. The prompt cancels a statement.
    configuration.ProcessTerminationTimeout = null;
}

var exitCode = await arguments.InvokeAsync(configuration);
return arguments.Errors.Count > 0 ? (int)ExitCode.Usage : exitCode;
