using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>A PostgreSQL server of this process alone: on loopback, with a generated password, gone when the process is.</summary>
public sealed class PrivateServer : IAsyncDisposable
{
    internal const string Owner = "creditdb";

    private const string Database = "creditdb";
    private static readonly TimeSpan PredecessorLimit = TimeSpan.FromSeconds(20);

    // Recovery after a power cut may take its time; a server that cannot start ends by itself long before.
    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(5);

    private readonly ServerFolder _folder;
    private readonly ServerProcess _process;
    private readonly ServerLog _log;
    private readonly PostgresBinaries _binaries;
    private readonly bool _kept;
    private bool _isDisposed;

    private PrivateServer(ServerFolder folder, ServerProcess process, ServerLog log, PostgresBinaries binaries, bool kept, string connectionString)
    {
        (_folder, _process, _log, _binaries, _kept) = (folder, process, log, binaries, kept);
        ConnectionString = connectionString;
        Port = new NpgsqlConnectionStringBuilder(connectionString).Port;
    }

    /// <summary>Connects as the superuser to the database creditdb.</summary>
    public string ConnectionString { get; }

    public int Port { get; }

    /// <summary>The server's version, as in 17.10.</summary>
    public string Version => _binaries.Version;

    public string BinFolder => _binaries.BinFolder;

    /// <summary>The server's folder: its data, password and log.</summary>
    public string Folder => _folder.FolderPath;

    public string LogFile => _log.FilePath;

    /// <summary>The last lines of the server's log.</summary>
    public string LogTail => _log.Tail;

    public int Postmaster => _process.Postmaster;

    /// <summary>Completes when the server has ended, by its own doing or because it was disposed.</summary>
    public Task Exited => _process.Exited;

    /// <summary>Finds PostgreSQL, makes the data if there are none, starts the server and waits until it takes connections.</summary>
    /// <exception cref="PrivatePostgresException">There is no PostgreSQL, the folder is taken, or the server did not start.</exception>
    public static async Task<PrivateServer> StartAsync(PrivateServerOptions options, CancellationToken ct = default)
    {
        var binaries = await FindBinariesAsync(options, ct);
        var path = options.KeptIn is { } root
            ? ServerFolder.Of(root, binaries.Major)
            : Directory.CreateTempSubdirectory("creditdb-").FullName;
        var kept = options.KeptIn is not null;
        var folder = ServerFolder.Take(path);
        var log = new ServerLog(folder.LogFile);
        try
        {
            var password = folder.Password();
            await folder.InitialiseAsync(binaries, durable: kept, ct);
            await folder.WaitForPredecessorAsync(PredecessorLimit, ct);

            var (process, connectionString) = await LaunchAsync(options, binaries, folder, log, password, ct);
            var server = new PrivateServer(folder, process, log, binaries, kept, connectionString);
            folder.Remember(new ServerRecord(Environment.ProcessId, process.Postmaster, server.Port, connectionString));
            return server;
        }
        catch
        {
            Release(folder, log, kept);
            throw;
        }
    }

    /// <summary>The connection string of the kept server that runs under this folder, if one does.</summary>
    public static string? FindRunning(string keptIn) => ServerFolder.Running(keptIn).FirstOrDefault()?.ConnectionString;

    /// <summary>Stops the server (fast: sessions are ended, the data are left clean) and removes a throwaway folder.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        NpgsqlConnection.ClearPool(new NpgsqlConnection(ConnectionString));
        await _process.DisposeAsync();
        Release(_folder, _log, _kept);
    }

    // Another PostgreSQL installed meanwhile must not make the data seem lost.
    private static async Task<PostgresBinaries> FindBinariesAsync(PrivateServerOptions options, CancellationToken ct)
    {
        var search = options.Search;
        if (search.Major is not null || search.BinFolder is not null || options.KeptIn is not { } root || ServerFolder.NewestMajor(root) is not { } major)
            return await PostgresBinaries.FindAsync(search, options.Report, ct);

        try
        {
            return await PostgresBinaries.FindAsync(search with { Major = major }, options.Report, ct);
        }
        catch (PrivatePostgresException e)
        {
            throw new PrivatePostgresException(
                $"{e.Message}\nThe data in {ServerFolder.Of(root, major)} are PostgreSQL {major}'s; to begin anew, set CREDITDB_POSTGRES_VERSION to another version.", e);
        }
    }

    private static async Task<(ServerProcess Process, string ConnectionString)> LaunchAsync(
        PrivateServerOptions options, PostgresBinaries binaries, ServerFolder folder, ServerLog log, string password, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            var port = ChoosePort(options);
            var connection = new NpgsqlConnectionStringBuilder
            {
                Host = "127.0.0.1",
                Port = port,
                Username = Owner,
                Password = password,
                Database = Database,
            };
            List<string> command =
            [
                binaries.Postgres, "-D", folder.Data, "-p", $"{port}",
                "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                "-c", "logging_collector=off", "-c", "log_destination=stderr", "-c", "lc_messages=C",
            ];
            foreach (var (name, value) in options.Settings)
                command.AddRange("-c", $"{name}={value}");

            var leftovers = options.KeptIn is null ? folder.FolderPath : null;
            var process = await ServerProcess.StartAsync(command, folder.FolderPath, leftovers, log, ct);
            try
            {
                await WaitUntilReadyAsync(process, folder, connection, log, ct);
                return (process, connection.ConnectionString);
            }
            catch (Exception e)
            {
                await process.DisposeAsync();
                if (e is not PrivatePostgresException || attempt == 3 || IsFree(port))
                    throw;
            }
        }
    }

    private static async Task WaitUntilReadyAsync(
        ServerProcess process, ServerFolder folder, NpgsqlConnectionStringBuilder connection, ServerLog log, CancellationToken ct)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            if (process.Exited.IsCompleted)
                throw new PrivatePostgresException($"PostgreSQL ended while starting. The end of its log, {log.FilePath}:\n{log.Tail}");
            if (folder.IsReady(process.Postmaster) && await EnsureDatabaseAsync(connection, ct))
                return;
            if (TimeProvider.System.GetElapsedTime(started) > StartLimit)
                throw new PrivatePostgresException($"PostgreSQL did not start within {StartLimit}. The end of its log, {log.FilePath}:\n{log.Tail}");
            await Task.Delay(20, ct);
        }
    }

    // False: nothing listens yet, since postmaster.pid was an old one with, by chance, the same process id.
    private static async Task<bool> EnsureDatabaseAsync(NpgsqlConnectionStringBuilder connection, CancellationToken ct)
    {
        var maintenance = new NpgsqlConnectionStringBuilder(connection.ConnectionString) { Database = "postgres", Pooling = false };
        await using var session = new NpgsqlConnection(maintenance.ConnectionString);
        try
        {
            await session.OpenAsync(ct);
        }
        catch (NpgsqlException e) when (e.InnerException is SocketException)
        {
            return false;
        }

        await using var find = new NpgsqlCommand("select 1 from pg_database where datname = $1", session) { Parameters = { new() { Value = Database } } };
        if (await find.ExecuteScalarAsync(ct) is null)
        {
            await using var create = new NpgsqlCommand($"create database {Database}", session);
            await create.ExecuteNonQueryAsync(ct);
        }

        return true;
    }

    private static int ChoosePort(PrivateServerOptions options)
    {
        if (options.PreferredPort is not { } preferred)
            return Free();
        if (IsFree(preferred))
            return preferred;

        var port = Free();
        options.Report($"Port {preferred} is taken by another program: this time the server listens on port {port}.");
        return port;
    }

    private static int Free()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static bool IsFree(int port)
    {
        try
        {
            using var listener = new TcpListener(IPAddress.Loopback, port);
            listener.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static void Release(ServerFolder folder, ServerLog log, bool kept)
    {
        log.Dispose();
        folder.Dispose();
        if (!kept && Directory.Exists(folder.FolderPath))
            Directory.Delete(folder.FolderPath, recursive: true);
    }
}
