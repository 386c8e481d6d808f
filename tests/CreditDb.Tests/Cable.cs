using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace CreditDb.Tests;

/// <summary>A way to a server that can be cut, and joined again.</summary>
internal sealed class Cable : IAsyncDisposable
{
    private readonly NpgsqlConnectionStringBuilder _target;
    private readonly int _port;
    private readonly List<TcpClient> _ends = [];
    private TcpListener? _listener;
    private Task _accepting = Task.CompletedTask;

    public Cable(string connectionString)
    {
        _target = new NpgsqlConnectionStringBuilder(connectionString);
        Join();
        _port = ((IPEndPoint)_listener!.LocalEndpoint).Port;
    }

    public string ConnectionString => new NpgsqlConnectionStringBuilder(_target.ConnectionString) { Host = "127.0.0.1", Port = _port }.ConnectionString;

    public void Join()
    {
        _listener = new TcpListener(IPAddress.Loopback, _port);
        _listener.Start();
        _accepting = AcceptAsync(_listener);
    }

    public async Task CutAsync()
    {
        _listener!.Stop();
        await _accepting;
        lock (_ends)
        {
            foreach (var end in _ends)
                end.Dispose();
            _ends.Clear();
        }
    }

    public async ValueTask DisposeAsync() => await CutAsync();

    private async Task AcceptAsync(TcpListener listener)
    {
        try
        {
            while (true)
            {
                var near = await listener.AcceptTcpClientAsync();
                var far = new TcpClient(_target.Host!, _target.Port);
                lock (_ends)
                    _ends.AddRange([near, far]);
                _ = CarryAsync(near, far);
                _ = CarryAsync(far, near);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Cut.
        }
    }

    private static async Task CarryAsync(TcpClient from, TcpClient to)
    {
        try
        {
            await from.GetStream().CopyToAsync(to.GetStream());
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // Cut.
        }
        finally
        {
            from.Dispose();
            to.Dispose();
        }
    }
}
