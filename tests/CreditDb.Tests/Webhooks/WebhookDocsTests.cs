using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace CreditDb.Tests.Webhooks;

/// <summary>What docs/webhooks.md tells receivers to do is true of its own example.</summary>
public sealed partial class WebhookDocsTests
{
    private static readonly string Repository = Path.Combine(AppContext.BaseDirectory, "../../../../..");
    private static readonly string Page = File.ReadAllText(Path.Combine(Repository, "docs/webhooks.md"));

    [Fact]
    public void The_code_of_the_page_is_the_code_tested_here() => Assert.Contains(
        Spaces().Replace(CSharp().Match(Page).Groups[1].Value, " ").Replace("static bool", "private static bool", StringComparison.Ordinal),
        Spaces().Replace(File.ReadAllText(Path.Combine(Repository, "tests/CreditDb.Tests/Webhooks/WebhookDocsTests.cs")), " "),
        StringComparison.Ordinal);

    [Fact]
    public void The_pages_own_example_verifies_and_nothing_else()
    {
        var secret = Secret().Match(Page).Value;
        var example = Example().Match(Page);
        var (header, body) = (example.Groups[1].Value, Encoding.UTF8.GetBytes(example.Groups[2].Value));
        var sent = DateTimeOffset.FromUnixTimeSeconds(1795288154);
        Assert.True(IsGenuine(header, body, secret, sent.AddMinutes(4)));
        Assert.True(IsGenuine(header.Replace(",", ",v1=00,", StringComparison.Ordinal), body, secret, sent));
        Assert.False(IsGenuine(header, body, secret, sent.AddMinutes(6)));
        Assert.False(IsGenuine(header, body, secret, sent.AddMinutes(-6)));
        Assert.False(IsGenuine(header, body, secret + "0", sent));
        Assert.False(IsGenuine(header, [.. body, 32], secret, sent));
        foreach (var wrong in new[] { "", "t=", "v1=", "t=1795288154", "t=1795288154,v1=", "t=1795288155," + header.Split(',')[1], header.Replace("v1=", "v0=", StringComparison.Ordinal) })
            Assert.False(IsGenuine(wrong, body, secret, sent));
    }

    private static bool IsGenuine(string header, ReadOnlySpan<byte> body, string secret, DateTimeOffset now)
    {
        var parts = header.Split(',').Select(p => p.Split('=', 2)).Where(p => p.Length == 2).ToList();
        var time = parts.FirstOrDefault(p => p[0] == "t")?[1];
        if (!long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) || Math.Abs(now.ToUnixTimeSeconds() - seconds) > 300)
            return false;
        byte[] signed = [.. Encoding.ASCII.GetBytes(time + "."), .. body];
        var expected = Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), signed));
        return parts.Any(p => p[0] == "v1" && CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(p[1]), Encoding.ASCII.GetBytes(expected)));
    }

    [GeneratedRegex("```csharp\n(.*?)\n```", RegexOptions.Singleline)]
    private static partial Regex CSharp();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex("whsec_[0-9a-f]{64}")]
    private static partial Regex Secret();

    [GeneratedRegex("CreditDb-Signature: (.*)\n(?:.+\n)+\n(.*)\n")]
    private static partial Regex Example();
}
