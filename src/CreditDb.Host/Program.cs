using System.CommandLine;
using CreditDb.Host.Commands;

var serve = ServeCommand.Create();
var root = new RootCommand("CreditDb: usage credits inside PostgreSQL.") { serve, SqlCommand.Create() };
root.Action = serve.Action;

// The generic host handles Ctrl+C and SIGTERM, and takes as long as the database needs to stop.
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });
