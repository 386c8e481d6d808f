using System.CommandLine;
using CreditDb.Host.Commands;

var root = new RootCommand($"CreditDb: usage credits inside your own PostgreSQL.\n\n{ExitCodes.Help}")
{
    MigrateCommand.Create(),
    StatusCommand.Create(),
    RollbackCommand.Create(),
    VerifyCommand.Create(),
};

var arguments = root.Parse(args);
var exitCode = await arguments.InvokeAsync();
return arguments.Errors.Count > 0 ? (int)ExitCode.Usage : exitCode;
