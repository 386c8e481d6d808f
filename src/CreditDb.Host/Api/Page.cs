namespace CreditDb.Host.Api;

/// <summary>How much a list brings at once.</summary>
internal static class Page
{
    public const int Usual = 50;

    private const int Largest = 200;

    public static int Checked(int limit) => limit is >= 1 and <= Largest
        ? limit
        : throw new ProblemException(400, "invalid_argument", $"limit: must be 1 to {Largest}.", "limit");
}
