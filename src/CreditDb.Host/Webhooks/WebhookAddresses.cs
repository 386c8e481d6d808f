using System.Net;
using System.Net.Sockets;

namespace CreditDb.Host.Webhooks;

/// <summary>
/// Where webhooks may lead. Judged by the addresses that a name has when the connection is made, so that no name points into the host's own network.
/// </summary>
internal static class WebhookAddresses
{
    private static readonly IPNetwork[] NotPublic =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
            "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        }.Select(IPNetwork.Parse),
    ];

    private static readonly IPNetwork PublicV6 = IPNetwork.Parse("2000::/3");

    public static bool IsPublic(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        return !NotPublic.Any(n => n.Contains(address)) && (address.AddressFamily == AddressFamily.InterNetwork || PublicV6.Contains(address));
    }

    /// <summary>Connects to the first address of the host that is allowed and answers.</summary>
    public static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, WebhookOptions options, CancellationToken ct)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var isHttps = context.InitialRequestMessage.RequestUri!.Scheme == Uri.UriSchemeHttps;
        var addresses = await Dns.GetHostAddressesAsync(host, ct);
        var allowed = Array.FindAll(addresses, a => isHttps ? options.AllowPrivateAddresses || IsPublic(a) : options.AllowLoopback && IPAddress.IsLoopback(a));
        if (allowed.Length == 0)
            throw new ForbiddenAddressException($"{host} is not at an address that webhooks may be sent to");
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, port, ct);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>The name of an endpoint leads where no webhook goes.</summary>
internal sealed class ForbiddenAddressException(string message) : Exception(message);
