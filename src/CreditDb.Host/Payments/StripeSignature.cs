using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace CreditDb.Host.Payments;

/// <summary>The header Stripe-Signature: t=UNIX TIME,v1=HEX,… where each v1 is an HMAC-SHA256 of "TIME.BODY" by one of the signing secrets.</summary>
internal static class StripeSignature
{
    private static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);

    /// <summary>Whether one of the secrets signed exactly these bytes, within five minutes of now.</summary>
    public static bool IsValid(string header, ReadOnlySpan<byte> body, IEnumerable<string> secrets, DateTimeOffset now)
    {
        var parts = header.Split(',').Select(part => part.Trim().Split('=', 2)).Where(pair => pair.Length == 2).ToList();
        var times = parts.Where(pair => pair[0] == "t").Select(pair => pair[1]).ToList();
        if (times is not [var time] || !long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
            || Math.Abs(now.ToUnixTimeSeconds() - (decimal)seconds) > (decimal)Tolerance.TotalSeconds)
            return false;

        byte[] signed = [.. Encoding.ASCII.GetBytes(time + "."), .. body];
        var isValid = false;
        foreach (var secret in secrets)
        {
            var expected = Encoding.ASCII.GetBytes(Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), signed)));
            // All of them, and each in constant time.
            foreach (var pair in parts.Where(pair => pair[0] == "v1"))
                isValid |= CryptographicOperations.FixedTimeEquals(expected, Encoding.UTF8.GetBytes(pair[1]));
        }

        return isValid;
    }
}
