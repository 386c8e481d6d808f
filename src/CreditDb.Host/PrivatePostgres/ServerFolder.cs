using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>What others need to find a running server.</summary>
internal sealed record ServerRecord(int HostProcess, int Postmaster, int Port, string ConnectionString);

/// <summary>A server's folder: data, password, log, and while it runs a lock and a record of where it is reached.</summary>
internal sealed class ServerFolder : IDisposable
{
    private const string Prefix = "postgresql-";

    private readonly FileStream _lock;

    private ServerFolder(string path, FileStream @lock) => (FolderPath, _lock) = (path, @lock);

    public string FolderPath { get; }

    public string Data => Path.Combine(FolderPath, "data");

    public string LogFile => Path.Combine(FolderPath, "server.log");

    private string PasswordFile => Path.Combine(FolderPath, "password");

    public static string Of(string root, int major) => Path.Combine(root, Prefix + major.ToString(CultureInfo.InvariantCulture));

    /// <summary>The newest major version that has data under this root.</summary>
    public static int? NewestMajor(string root) => Servers(root)
        .Where(folder => Directory.Exists(Path.Combine(folder, "data")))
        .Max(folder => int.TryParse(Path.GetFileName(folder)[Prefix.Length..], CultureInfo.InvariantCulture, out var major) ? (int?)major : null);

    /// <summary>The records of the servers that run under this root.</summary>
    public static IEnumerable<ServerRecord> Running(string root) => Servers(root).Select(Read).OfType<ServerRecord>();

    /// <summary>Makes the folder if need be and takes it for this process.</summary>
    public static ServerFolder Take(string path)
    {
        Directory.CreateDirectory(path);
        if (!Directory.Exists(Path.Combine(path, "data")))
            ServerUser.Own(path);
        try
        {
            var folder = new ServerFolder(path, new FileStream(Path.Combine(path, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
            folder.Forget();
            return folder;
        }
        catch (IOException e)
        {
            throw new PrivatePostgresException(Read(path) is { } holder
                ? $"""
                  The server in {path} already runs: process {holder.HostProcess} holds it (its postmaster is {holder.Postmaster}), on port {holder.Port}.
                  Connect to it with: dotnet run --project src/CreditDb.Host -- sql
                  """
                : $"{path} is held by another process, which is starting or stopping its server. Try again in a moment.", e);
        }
    }

    public string Password()
    {
        if (!File.Exists(PasswordFile))
        {
            if (Directory.Exists(Data))
                throw new PrivatePostgresException($"{PasswordFile} is missing; the data beside it cannot be opened without it.");
            WriteSecret(PasswordFile, RandomNumberGenerator.GetHexString(32, lowercase: true));
        }

        return File.ReadAllText(PasswordFile).Trim();
    }

    /// <summary>Runs initdb unless it has already run to its end here.</summary>
    public async Task InitialiseAsync(PostgresBinaries binaries, bool durable, CancellationToken ct)
    {
        if (Directory.Exists(Data))
            return;

        // A rename marks the end. A name of its own each time: an initdb whose parent was killed may still be writing.
        const string unfinished = "unfinished-";
        foreach (var abandoned in Directory.GetDirectories(FolderPath, unfinished + "*"))
            Directory.Delete(abandoned, recursive: true);
        var staging = Path.Combine(FolderPath, unfinished + Guid.NewGuid().ToString("N"));
        var command = ServerUser.Command(
            binaries.InitDb, "--pgdata", staging, "--username", PrivateServer.Owner, "--auth", "scram-sha-256", "--pwfile", PasswordFile,
            "--encoding", "UTF8", "--locale", "C", "--data-checksums");
        if (!durable)
            command = [.. command, "--no-sync"];

        var (exitCode, output) = await Tool.RunAsync(command, FolderPath, ct);
        if (exitCode != 0)
        {
            var hint = ServerUser.IsAnother ? "\nAs root, CreditDb runs it as the user nobody, who must be able to reach the folder." : "";
            throw new PrivatePostgresException($"initdb could not make {staging}:\n{output}{hint}");
        }

        Directory.Move(staging, Data);
    }

    /// <summary>Whether postmaster.pid says that this postmaster takes connections.</summary>
    public bool IsReady(int postmaster) =>
        PidFile() is [var pid, .., { } status] && pid == postmaster.ToString(CultureInfo.InvariantCulture) && status == "ready";

    /// <summary>After kill -9 of the last host its server may still be shutting down; no longer than this is it waited for.</summary>
    public async Task WaitForPredecessorAsync(TimeSpan limit, CancellationToken ct)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (PidFile() is [var text, ..] && int.TryParse(text, CultureInfo.InvariantCulture, out var pid) && IsPostgres(pid)
            && TimeProvider.System.GetElapsedTime(started) < limit)
        {
            await Task.Delay(50, ct);
        }
    }

    public void Remember(ServerRecord record) => WriteSecret(RecordFile(FolderPath), JsonSerializer.Serialize(record));

    public void Dispose()
    {
        Forget();
        _lock.Dispose();
    }

    private static string RecordFile(string folder) => Path.Combine(folder, "server.json");

    private static string[] Servers(string root) => Directory.Exists(root) ? Directory.GetDirectories(root, Prefix + "*") : [];

    private static ServerRecord? Read(string folder)
    {
        try
        {
            var record = JsonSerializer.Deserialize<ServerRecord>(File.ReadAllText(RecordFile(folder)));
            return record is not null && IsPostgres(record.Postmaster) ? record : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    private static bool IsPostgres(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            return process.ProcessName.StartsWith("postgres", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
            return false;
        }
    }

    private static void WriteSecret(string path, string text)
    {
        var draft = path + ".new";
        File.WriteAllText(draft, "");
        ServerUser.Own(draft);
        File.WriteAllText(draft, text);
        File.Move(draft, path, overwrite: true);
    }

    private string[]? PidFile()
    {
        try
        {
            return [.. File.ReadAllLines(Path.Combine(Data, "postmaster.pid")).Select(line => line.Trim())];
        }
        catch (IOException)
        {
            return null;
        }
    }

    private void Forget()
    {
        if (Directory.Exists(FolderPath))
            File.Delete(RecordFile(FolderPath));
    }
}
