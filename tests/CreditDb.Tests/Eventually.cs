namespace CreditDb.Tests;

internal static class Eventually
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Polls until the condition holds; fails with the message after a minute.</summary>
    public static Task TrueAsync(Func<bool> condition, string message) => TrueAsync(() => Task.FromResult(condition()), message);

    /// <inheritdoc cref="TrueAsync(Func{bool}, string)"/>
    public static async Task TrueAsync(Func<Task<bool>> condition, string message)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Limit, message);
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }
}
