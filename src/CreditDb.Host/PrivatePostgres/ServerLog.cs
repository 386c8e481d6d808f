namespace CreditDb.Host.PrivatePostgres;

/// <summary>The server's log in a file of bounded size; its last lines also in memory.</summary>
public sealed class ServerLog(string path, long limit = 5_000_000) : IDisposable
{
    private const int TailLines = 25;

    private readonly Lock _gate = new();
    private readonly Queue<string> _tail = new();
    private StreamWriter? _writer;

    public string FilePath => path;

    public string Tail
    {
        get
        {
            lock (_gate)
                return string.Join(Environment.NewLine, _tail);
        }
    }

    public void Append(string line)
    {
        lock (_gate)
        {
            _tail.Enqueue(line);
            if (_tail.Count > TailLines)
                _tail.Dequeue();

            try
            {
                Write(line);
            }
            catch (IOException)
            {
                // A full disk must not end the host before the server says so itself.
            }
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _writer?.Dispose();
    }

    private void Write(string line)
    {
        _writer ??= Open();
        if (_writer.BaseStream.Length > limit)
        {
            _writer.Dispose();
            File.Move(path, path + ".1", overwrite: true);
            _writer = Open();
        }

        _writer.WriteLine(line);
    }

    private StreamWriter Open() =>
        new(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete)) { AutoFlush = true };
}
