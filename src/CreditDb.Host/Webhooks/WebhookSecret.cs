using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace CreditDb.Host.Webhooks;

/// <summary>What an endpoint and this host share, by which the endpoint knows who sends.</summary>
internal static class WebhookSecret
{
    /// <summary>The name under which secrets are protected in the database.</summary>
    public const string Purpose = "CreditDb.Webhooks.v1";

    public const string Header = "CreditDb-Signature";

    public static string New() => "whsec_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));

    /// <summary>The value of the header: the time, and of each secret the HMAC-SHA256 of time, dot and body.</summary>
    public static string Sign(IEnumerable<string> secrets, DateTimeOffset now, ReadOnlySpan<byte> body)
    {
        var time = now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        byte[] signed = [.. Encoding.ASCII.GetBytes(time + "."), .. body];
        return $"t={time}," + string.Join(',', secrets.Select(s => "v1=" + Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(s), signed))));
    }
}
