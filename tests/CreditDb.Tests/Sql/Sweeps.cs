using System.Text.Json;

namespace CreditDb.Tests.Sql;

/// <summary>What the tests of the worker's functions share.</summary>
internal static class Sweeps
{
    /// <summary>Calls until a sweep is done; returns how many items it did and what each call returned.</summary>
    public static async Task<(long Items, List<JsonElement> Slices)> Sweep(this TestDatabase db, string function, int limit = 1000, string? every = null)
    {
        List<JsonElement> slices = [];
        do
            slices.Add(await db.Json($"select credits.{function}($1, $2)", every, limit));
        while (!slices[^1].Flag("is_done"));
        return (slices.Sum(s => (long)s.Number("items")), slices);
    }

    /// <summary>Several workers at one sweep, until each of them finds nothing to do any more.</summary>
    public static async Task<long> SweepTogether(this TestDatabase db, string function, int limit, int workers = 8) =>
        (await Task.WhenAll(Enumerable.Range(0, workers).Select(async _ =>
        {
            var items = 0L;
            // Who is told that it is done may just have met another worker.
            for (var idle = 0; idle < 3;)
            {
                var slice = await db.Json($"select credits.{function}('1 day', $1)", limit);
                items += (long)slice.Number("items");
                idle = slice.Flag("is_done") ? idle + 1 : 0;
            }
            return items;
        }))).Sum();

    public static Task<List<string>> Alerts(this TestDatabase db, Guid user, bool isOpen = true) => db.Column<string>(
        "select kind || ' ' || subject from credits.alerts where user_id = $1 and (closed_at is null) = $2 order by raised_at, subject", user, isOpen);
}
