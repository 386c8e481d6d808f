using System.CommandLine;
using CreditDb.Host.Commands;

var serve = ServeCommand.Create();
var root = new RootCommand($"CreditDb: usage credits inside your own PostgreSQL.\n\n{ExitCodes.Help}")
{
    serve,
    MigrateCommand.Create(),
    StatusCommand.Create(),
    RollbackCommand.Create(),
    VerifyCommand.Create(),
    SqlCommand.Create(),
};
root.Action = serve.Action;

var arguments = root.Parse(args);
var configuration = new InvocationConfiguration();
if (arguments.Action == serve.Action)
{
    // The generic host handles Ctrl+C and SIGTERM, and takes as long as the database needs to stop.
    configuration.ProcessTerminationTimeout = null;
}

var exitCode = await arguments.InvokeAsync(configuration);
return arguments.Errors.Count > 0 ? (int)ExitCode.Usage : exitCode;
