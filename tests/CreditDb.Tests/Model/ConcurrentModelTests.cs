using System.Collections.Concurrent;
using System.Data;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Model;

/// <summary>
/// Eight connections fire random operations at the same few users while the clock races through days. Nothing may fail but what is to be retried or
/// is named, and the books must say exactly what the callers were told.
/// </summary>
public sealed class ConcurrentModelTests(TestDatabase db, ITestOutputHelper output) : IClassFixture<TestDatabase>
{
    private const int Connections = 8;
    private const int Users = 3;
    private const int OperationsEach = 150;

    /// <summary>How much faster than the wall clock: four seconds are about a day.</summary>
    private const int Speed = 20_000;

    private static readonly string[] Plans = ["free", "daily", "once", "paid"];
    private static readonly string[] Named = ["UC101", "UC102", "UC201", "UC310", "UC311", "UC312", "UC320", "UC330", "UC332", "UC333", "UC334", "UC335"];
    private static readonly string[] ToBeRetried = ["40001", "40P01"];

    private readonly Guid[] _users = [.. Enumerable.Range(0, Users).Select(_ => Guid.NewGuid())];
    private readonly ConcurrentDictionary<Guid, ConcurrentQueue<Guid>> _reservations = [];
    private readonly ConcurrentDictionary<Guid, ConcurrentQueue<long>> _charges = [];
    private readonly ConcurrentDictionary<Guid, ConcurrentQueue<Guid>> _purchases = [];
    private readonly ConcurrentDictionary<(Guid User, string What), decimal> _told = [];
    private readonly ConcurrentDictionary<string, int> _counts = [];
    private readonly long _started = TimeProvider.System.GetTimestamp();

    /// <summary>A statement, and the field of its outcome that the books must agree with. To add an operation, add a line to <see cref="Next"/>.</summary>
    private sealed record Shot(Guid User, string Sql, string? Field = null, string? What = null);

    private static IsolationLevel LevelOf(int connection) =>
        connection switch { 5 or 6 => IsolationLevel.RepeatableRead, 7 => IsolationLevel.Serializable, _ => IsolationLevel.ReadCommitted };

    [Fact]
    public async Task Eight_connections_leave_books_that_say_what_the_callers_were_told()
    {
        foreach (var statement in World.Setup())
            await db.Run(statement);
        foreach (var (number, user) in _users.Index())
        {
            await db.Run($"do $$ begin set test.clock = {Clock(0).Sql()}; perform credits.open_account({user.Sql()}, '{Plans[number]}', 'Europe/Berlin'); end $$");
            (_reservations[user], _charges[user], _purchases[user]) = ([], [], []);
        }
        var seed = ModelTests.Setting("CREDITDB_PROPERTY_SEED", Random.Shared.Next());
        output.WriteLine($"Seed {seed}");
        using var done = new CancellationTokenSource();
        var watching = WatchAsync(done.Token);
        try
        {
            await Task.WhenAll(Enumerable.Range(0, Connections).Select(n => FireAsync(n, new Random(unchecked((seed * 31) + n)))));
        }
        finally
        {
            await done.CancelAsync();
            await watching;
        }

        output.WriteLine(string.Join("\n", _counts.OrderBy(c => c.Key).Select(c => $"{c.Key}: {c.Value}")));
        Assert.True(_counts["ok"] > Connections * OperationsEach / 4, "too few operations went through to say anything");
        Assert.Empty(await db.Column<string>("select v::text from credits.verify_ledger() v"));
        foreach (var user in _users)
        {
            await SameAsync(user, "charged", "select -sum(amount) from credits.credit_entries where user_id = $1 and kind = 'usage' and row_source is distinct from 'public.bots' and reference is distinct from 'chat session'");
            await SameAsync(user, "refunded", "select sum(amount) from credits.credit_refunds where user_id = $1");
            await SameAsync(user, "granted", "select sum(amount) from credits.credit_entries where user_id = $1 and kind = 'grant' and reference = 'test'");
            await SameAsync(user, "taken", "select sum(amount) from credits.credit_entries where user_id = $1 and kind = 'adjustment' and reference = 'taken'");
            await SameAsync(user, "held", "select -sum(amount) from credits.credit_entries where user_id = $1 and kind = 'hold'");
            await SameAsync(user, "revoked", "select -sum(amount) from credits.credit_entries where user_id = $1 and kind = 'revocation' and metadata ->> 'purchase_id' is null");
            await SameAsync(user, "bought", "select sum(credits) from credits.credit_purchases where user_id = $1 and grant_no is not null");
            await SameAsync(user, "taken back", "select sum(credits) from credits.credit_purchase_refunds where user_id = $1");
            await SameAsync(user, "reinstated", "select sum(credits) from credits.credit_purchase_refunds where user_id = $1 and reinstated_at is not null");
            Assert.Equal(await db.Value<long>("select count(*) from public.bots where user_id = $1", user), await db.Value<long>(
                """
                select (select count(*) from credits.credit_entries where user_id = $1 and kind = 'usage' and row_source = 'public.bots')
                  + (select count(*) from credits.uncharged_rows where user_id = $1)
                """, user));
        }
    }

    private async Task SameAsync(Guid user, string what, string sql)
    {
        var booked = await db.Value<decimal?>(sql, user) ?? 0;
        var told = _told.GetValueOrDefault((user, what));
        Assert.True(booked == told, $"{what} of {user}: callers were told {told}, the books say {booked}");
    }

    private DateTime Clock(double skewSeconds) =>
        new DateTime(2027, 1, 29, 12, 0, 0, DateTimeKind.Utc).AddSeconds((TimeProvider.System.GetElapsedTime(_started).TotalSeconds * Speed) + skewSeconds);

    /// <summary>A healthy ledger shows no drift under load.</summary>
    private async Task WatchAsync(CancellationToken done)
    {
        await using var connection = new NpgsqlConnection(db.ConnectionString);
        await connection.OpenAsync(CancellationToken.None);
        while (!done.IsCancellationRequested)
        {
            Assert.Empty(await connection.Column<string>("select v::text from credits.verify_ledger() v"));
            _counts.AddOrUpdate("verify_ledger under load", 1, (_, n) => n + 1);
            await Task.Delay(200, CancellationToken.None);
        }
    }

    private async Task FireAsync(int number, Random random)
    {
        await using var connection = new NpgsqlConnection(db.ConnectionString);
        await connection.OpenAsync();
        for (var n = 0; n < OperationsEach; n++)
        {
            // Two in one transaction now and then, in whatever order: that may deadlock, and is retried.
            Shot[] shots = random.Next(8) == 0 ? [Next(random), Next(random)] : [Next(random)];
            while (!await TryAsync(connection, LevelOf(number), shots, random))
                await Task.Delay(random.Next(10));
        }
    }

    private async Task<bool> TryAsync(NpgsqlConnection connection, IsolationLevel level, Shot[] shots, Random random)
    {
        var answers = new List<(Shot Shot, JsonElement Answer)>();
        await using var transaction = await connection.BeginTransactionAsync(level);
        try
        {
            await connection.Run($"set local test.clock = {Clock(random.Next(-600, 600)).Sql()}");
            foreach (var shot in shots)
            {
                if (shot.Sql.StartsWith("select", StringComparison.Ordinal))
                    answers.Add((shot, await connection.Json($"select to_jsonb(r)::text from ({shot.Sql}) a (r)")));
                else
                    await connection.Run(shot.Sql);
            }
            await transaction.CommitAsync();
        }
        catch (PostgresException error) when (Named.Contains(error.SqlState) || ToBeRetried.Contains(error.SqlState) || IsTooLate(error))
        {
            _counts.AddOrUpdate(error.SqlState, 1, (_, n) => n + 1);
            return !ToBeRetried.Contains(error.SqlState);
        }
        catch (PostgresException error)
        {
            throw new InvalidOperationException($"{error.SqlState} {error.MessageText}: {string.Join("; ", shots.Select(s => s.Sql))}", error);
        }
        foreach (var (shot, answer) in answers)
            Note(shot, answer);
        return true;
    }

    /// <summary>While it waited for the lock the others' clocks went past the expiry that it asked for; or the chat began by a clock ahead of this one.</summary>
    private static bool IsTooLate(PostgresException error) => error.SqlState == "UC001"
        && (error.Detail?.Contains("p_expires_at", StringComparison.Ordinal) == true || error.Detail?.Contains("p_elapsed_seconds", StringComparison.Ordinal) == true);

    private void Note(Shot shot, JsonElement answer)
    {
        if (answer.ValueKind != JsonValueKind.Object)
            return;
        var code = answer.Text("code");
        _counts.AddOrUpdate(code, 1, (_, n) => n + 1);
        if (code != "ok" || (answer.TryGetProperty("replayed", out var replayed) && replayed.GetBoolean()))
            return;
        if (shot.What is not null)
            _told.AddOrUpdate((shot.User, shot.What), answer.Number(shot.Field!), (_, n) => n + answer.Number(shot.Field!));
        if (shot.What == "held")
            _reservations[shot.User].Enqueue(Guid.Parse(answer.Text("reservation_id")));
        if (shot.What == "begun")
            _purchases[shot.User].Enqueue(Guid.Parse(answer.Text("purchase_id")));
        if (shot.What == "charged")
            _charges[shot.User].Enqueue((long)answer.Number("log_id"));
    }

    private Shot Next(Random random)
    {
        var id = _users[random.Next(Users)];
        var user = id.Sql();
        var amount = random.Next(1, 400) / 10m;
        var (charge, hold) = (Pick(_charges[id]), Pick(_reservations[id]).Sql());
        var key = random.Next(40);
        // A key always stands for the same request, but for one in ten.
        var action = (random.Next(10) == 0 ? random.Next(4) : key % 4) switch { 0 => "create_agent", 1 => "send_email", 2 => "prompt_generation", _ => "script_generation" };
        var purchase = Pick(_purchases[id]).Sql();
        var session = $"credits.user_id_for('chat', '{id} {random.Next(3)}')";
        var isDispute = random.Next(2) == 0;
        var dispute = $"'{(isDispute ? "dispute" : "refund")} {random.Next(12)}'";
        Shot Charge(string sql) => new(id, sql, "credits_deducted", "charged");
        return random.Next(56) switch
        {
            < 6 => Charge($"select credits.deduct_credits_for_action({user}, '{action}')"),
            < 9 => Charge($"select credits.deduct_credits_for_action({user}, '{action}', {random.Next(2, 12)})"),
            < 12 => Charge($"select credits.deduct_credits_for_action({user}, '{action}', p_quantity => {(key % 7) + 0.5m}, p_idempotency_key => 'key {key}')"),
            < 13 => Charge($"select credits.deduct_call_credits({user}, credits.user_id_for('test', '{id} {random.Next(30)}'), {random.Next(1, 300)})"),
            < 14 => Charge($"select credits.deduct_chat_message({user})"),
            < 17 => new(id, $"insert into public.bots (user_id, name) select {user}, 'a' from generate_series(1, {random.Next(1, 4)})"),
            < 18 => new(id, $"select credits.charge_uncharged({user})"),
            < 21 => new(id, $"select credits.grant_credits({user}, {amount.Sql()}, 'promotional', {Clock(random.Next(3600, 200_000)).Sql()}, p_reference => 'test')", "amount", "granted"),
            < 23 => new(id, $"select credits.add_purchased_credits({user}, {(key + 1)}, 'test', 'payment {key}')", "amount", "granted"),
            < 24 => new(id, $"select credits.adjust_credits({user}, {(-amount).Sql()}, 'taken')", "amount", "taken"),
            < 27 => new(id, $"select credits.refund_credits({user}, {(charge == 0 || random.Next(9) == 0 ? charge + 1 : charge)}, {(random.Next(2) == 0 ? "null" : "0.4")})", "credits_refunded", "refunded"),
            < 31 => new(id, $"select credits.reserve_credits({user}, '{action}', {random.Next(1, 5)}, '{random.Next(1, 100_000)} seconds')", "credits_held", "held"),
            < 32 => new(id, $"select credits.extend_reservation({user}, {hold}, '1 hour')"),
            < 35 => Charge($"select credits.commit_reservation({user}, {hold}, {(random.Next(2) == 0 ? "null" : "2")})"),
            < 37 => new(id, $"select credits.release_reservation({user}, {hold})"),
            < 38 => new(id, $"select credits.change_plan({user}, '{Plans[random.Next(Plans.Length)]}')"),
            < 39 => new(id, $"select credits.settle_due_wallets({random.Next(1, 5)})"),
            < 40 => new(id, $"select credits.create_purchase({user}, 'starter', 'stripe')", "credits", "begun"),
            < 43 => new(id, $"select credits.complete_purchase({user}, {purchase}, {purchase}::text)", "credits", "bought"),
            < 46 => new(id, $"select credits.refund_purchase({user}, {purchase}, {random.Next(1, 200)}, null, {dispute}, {isDispute.Sql()})", "credits_taken", "taken back"),
            < 48 => new(id, $"select credits.reinstate_purchase({user}, {purchase}, {dispute})", "credits_taken", "reinstated"),
            < 49 => new(id, $"select credits.open_chat_session({user}, {session}, 30)"),
            < 52 => new(id, $"select credits.record_chat_time({user}, {session}, {random.Next(1, 2000)})"),
            < 53 => new(id, $"select credits.reactivate_account({user}) from credits.suspend_account({user})"),
            < 54 => new(id, $"select credits.archive_ledger({Clock(-random.Next(1000, 300_000)).Sql()}, 5)"),
            < 55 => new(id, "select credits.roll_up_usage(null, 10)"),
            _ => new(id, $"select credits.rollback_reset({user}, 'credits', coalesce((credits.get_credit_balance({user}) ->> 'last_monthly_reset')::timestamptz, "
                + "'2000-01-01'), 'test')", "revoked", "revoked"),
        };

        // Mostly the newest, so that several connections settle the same one.
        T Pick<T>(ConcurrentQueue<T> queue) where T : struct => queue.IsEmpty ? default : queue.ElementAt(Math.Max(0, queue.Count - 1 - random.Next(random.Next(4) == 0 ? 50 : 3)));
    }
}
