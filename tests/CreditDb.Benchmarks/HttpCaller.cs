using System.Buffers;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace CreditDb.Benchmarks;

/// <summary>
/// Asks over HTTP 1.1, on connections that are kept, and reads each answer to its end. As little as a caller can be: the callers share the machine with
/// what is measured, and HttpClient would take as much of it as the host.
/// </summary>
internal sealed class HttpCaller(Uri host, string key) : IDisposable
{
    private readonly ConcurrentBag<Connection> _idle = [];
    private readonly byte[] _headers = Encoding.ASCII.GetBytes($" HTTP/1.1\r\nHost: {host.Authority}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: ");

    /// <summary>The answer's status and its content, which holds until the next question of this caller.</summary>
    public async Task<T> AskAsync<T>(HttpMethod method, string path, object? body, Func<int, ReadOnlyMemory<byte>, T> read, CancellationToken ct)
    {
        Connection? connection;
        while (_idle.TryTake(out connection) && connection.IsOld)
            connection.Dispose();
        connection ??= await Connection.OpenAsync(host, ct);
        try
        {
            var content = body is null ? [] : JsonSerializer.SerializeToUtf8Bytes(body, body.GetType(), JsonSerializerOptions.Web);
            var (status, answer) = await connection.AskAsync(Encoding.ASCII.GetBytes($"{method} {path}"), _headers, content, ct);
            var result = read(status, answer);
            _idle.Add(connection);
            return result;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        foreach (var connection in _idle)
            connection.Dispose();
    }

    private sealed class Connection(Socket socket) : IDisposable
    {
        private readonly ArrayBufferWriter<byte> _question = new();
        private byte[] _answer = new byte[16 * 1024];
        private int _length;
        private long _usedAt = Environment.TickCount64;

        /// <summary>The host closes what nobody used for two minutes.</summary>
        public bool IsOld => Environment.TickCount64 - _usedAt > 60_000;

        public static async Task<Connection> OpenAsync(Uri host, CancellationToken ct)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(IPAddress.Parse(host.Host), host.Port, ct);
            return new Connection(socket);
        }

        public async ValueTask<(int Status, ReadOnlyMemory<byte> Content)> AskAsync(byte[] line, byte[] headers, byte[] content, CancellationToken ct)
        {
            _question.ResetWrittenCount();
            _question.Write(line);
            _question.Write(headers);
            _question.Write(Encoding.ASCII.GetBytes($"{content.Length}\r\n\r\n"));
            _question.Write(content);
            await socket.SendAsync(_question.WrittenMemory, ct);

            _length = 0;
            int end;
            while ((end = _answer.AsSpan(0, _length).IndexOf("\r\n\r\n"u8)) < 0)
                await ReceiveAsync(ct);
            var start = end + 4;
            if (!Utf8Parser.TryParse(_answer.AsSpan(9, 3), out int status, out _))
                throw new IOException("The answer has no status.");
            if (Header(end, "content-length: "u8) is { } length)
            {
                while (_length < start + length)
                    await ReceiveAsync(ct);
                return (status, _answer.AsMemory(start, length));
            }

            // In chunks, which are put together where they are.
            var (from, to) = (start, start);
            while (true)
            {
                int digits;
                while ((digits = _answer.AsSpan(from, _length - from).IndexOf("\r\n"u8)) < 0)
                    await ReceiveAsync(ct);
                if (!Utf8Parser.TryParse(_answer.AsSpan(from, digits), out int size, out _, 'x'))
                    throw new IOException("The answer has a chunk without a size.");
                from += digits + 2;
                while (_length < from + size + 2)
                    await ReceiveAsync(ct);
                if (size == 0)
                    return (status, _answer.AsMemory(start, to - start));
                _answer.AsSpan(from, size).CopyTo(_answer.AsSpan(to));
                to += size;
                from += size + 2;
            }
        }

        public void Dispose() => socket.Dispose();

        private int? Header(int end, ReadOnlySpan<byte> name)
        {
            for (var rest = _answer.AsSpan(0, end); rest.IndexOf("\r\n"u8) is >= 0 and var next;)
            {
                rest = rest[(next + 2)..];
                if (rest.Length > name.Length && Ascii.EqualsIgnoreCase(rest[..name.Length], name) && Utf8Parser.TryParse(rest[name.Length..], out int value, out _))
                    return value;
            }

            return null;
        }

        private async ValueTask ReceiveAsync(CancellationToken ct)
        {
            if (_length == _answer.Length)
                Array.Resize(ref _answer, _length * 2);
            var received = await socket.ReceiveAsync(_answer.AsMemory(_length), ct);
            _length += received > 0 ? received : throw new IOException("The host closed the connection.");
            _usedAt = Environment.TickCount64;
        }
    }
}
