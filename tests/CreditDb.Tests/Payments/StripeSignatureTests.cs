using System.Text;
using CreditDb.Host.Payments;

namespace CreditDb.Tests.Payments;

/// <summary>Only what Stripe signed, with one of our secrets and lately, counts.</summary>
public sealed class StripeSignatureTests
{
    private const string Body = """{"id":"evt_1"}""";
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void What_was_signed_is_valid_and_a_known_signature_is_reproduced()
    {
        Assert.True(IsValid(FakeStripe.Sign(Body, Now, "whsec_a"), Body));
        // Computed by: printf '1893499200.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_a
        Assert.True(IsValid("t=1893499200,v1=7eae561be04208b2bd83262431f9e7016d7480d253c8a60b196cb6e78ef20fa9", Body));
    }

    [Fact]
    public void While_secrets_are_rotated_either_will_do()
    {
        Assert.True(IsValid(FakeStripe.Sign(Body, Now, "whsec_b"), Body, "whsec_a", "whsec_b"));
        Assert.True(IsValid(FakeStripe.Sign(Body, Now, "whsec_gone", "whsec_a"), Body, "whsec_a"));
        Assert.False(IsValid(FakeStripe.Sign(Body, Now, "whsec_gone"), Body, "whsec_a", "whsec_b"));
        Assert.False(StripeSignature.IsValid(FakeStripe.Sign(Body, Now, ""), Encoding.UTF8.GetBytes(Body), [], Now));
    }

    [Theory]
    [InlineData(-300, true)]
    [InlineData(-301, false)]
    [InlineData(300, true)]
    [InlineData(301, false)]
    public void It_holds_for_five_minutes(int seconds, bool isValid) => Assert.Equal(isValid, IsValid(FakeStripe.Sign(Body, Now.AddSeconds(seconds), "whsec_a"), Body));

    [Fact]
    public void Whatever_is_changed_makes_it_invalid()
    {
        var good = FakeStripe.Sign(Body, Now, "whsec_a");
        Assert.False(IsValid(good, Body + " "));
        Assert.False(IsValid(good, Body.Replace('1', '2')));
        Assert.False(IsValid(good.Replace("v1=", "v0=", StringComparison.Ordinal), Body));
        Assert.False(IsValid(good.Replace("t=1893499200", "t=1893499201", StringComparison.Ordinal), Body));
        Assert.False(IsValid("t=1893499200," + good, Body));
        Assert.False(IsValid(good[..^1], Body));
        Assert.False(IsValid(good.ToUpperInvariant(), Body));
        foreach (var header in new[] { "", "t=", "v1=", "t=1893499200", "t=x,v1=00", "t=-1,v1=00", "t=99999999999999999999,v1=00", "t=9223372036854775807,v1=00", "t=1893499200,v1=é", "=,=,=" })
            Assert.False(IsValid(header, Body));
    }

    private static bool IsValid(string header, string body, params string[] secrets) =>
        StripeSignature.IsValid(header, Encoding.UTF8.GetBytes(body), secrets.Length == 0 ? ["whsec_a"] : secrets, Now);
}
