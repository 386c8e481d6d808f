using System.Diagnostics;
using System.Globalization;
using Npgsql;

namespace CreditDb.Benchmarks;

/// <summary>The contests, one per scenario.</summary>
internal sealed class Scenarios(BenchServer server, CreditClient client, BenchHost host)
{
    private const string Account = "('00000000-0000-4000-8000-' || lpad(to_hex(:n::int), 12, '0'))::uuid";
    private const string RandomAccount = "\\set n random(1, :accounts)\n";

    private const string Floor = RandomAccount +
        $"""
        with b as (update public.floor_balances set balance = balance - 1, entry_no = entry_no + 1 where id = {Account} and balance >= 1 returning *)
        insert into public.floor_history (id, entry_no, amount, balance) select id, entry_no, -1, balance from b;
        """;

    // What a charge writes, without price, rules and outcome: the most that a charge could reach.
    private const string Bare = RandomAccount +
        $$"""
        with w as (
          update credits.wallets
          set balance = balance - 1, entry_no = entry_no + 1, change_no = change_no + 1, last_entry_at = greatest(clock_timestamp(), last_entry_at),
            open_remaining = open_remaining - 1
          where user_id = {{Account}} and credit_type = 'credits' and open_remaining > 1
          returning *)
        insert into credits.credit_ledger
          (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, session_role, metadata)
        select user_id, credit_type, entry_no, last_entry_at, 'usage', -1, balance, 'weekly_report', 1, 1, open_grant_no, session_user, '{}' from w;
        """;

    private const string Charge = RandomAccount + $"select credits.deduct_credits_for_action({Account}, 'weekly_report');";
    private const string Keyed = RandomAccount + $"select credits.deduct_credits_for_action({Account}, 'weekly_report', p_idempotency_key => gen_random_uuid()::text);";

    /// <summary>One charge at a time, over random accounts.</summary>
    public Contest Charges(int clients, IEnumerable<Contestant> others) => new(
        $"A charge, random accounts, {clients} clients",
        [
            Sql("floor: one update, one insert", Floor, clients),
            Sql("pgbench simple-update", $"{RandomAccount}\\set delta random(-5000, 5000)\nbegin;\nupdate public.simple_accounts set abalance = abalance + :delta where aid = :n;\nselect abalance from public.simple_accounts where aid = :n;\ninsert into public.simple_history (aid, delta, mtime) values (:n, :delta, current_timestamp);\nend;", clients),
            Sql("check-then-act, without locks", $"{RandomAccount}select public.naive_charge({Account}, 'weekly_report');", clients),
            new("application-side, select for update", (time, ct) => Contest.CallersAsync(clients, time, ApplicationSideAsync, ct)),
            Sql("the two writes of a charge alone", Bare, clients),
            Sql("deduct_credits_for_action", Charge, clients),
            Sql("deduct_credits_for_action, idempotency key", Keyed, clients),
            Sql("insert into a table that charges", $"{RandomAccount}insert into public.reports (user_id, name) values ({Account}, 'a report');", clients),
            new("the library, DeductAsync", (time, ct) => Contest.CallersAsync(clients, time, LibraryAsync, ct)),
            new("the HTTP API, POST /api/credits/deduct", (time, ct) => Contest.CallersAsync(clients, time, (_, random, token) => host.DeductAsync(AnyAccount(random), token), ct)),
            .. others,
        ],
        [
            new("deduct_credits_for_action", "floor: one update, one insert", 0.75),
            new("deduct_credits_for_action", "pgbench simple-update", 1),
            new("deduct_credits_for_action", "check-then-act, without locks", 1),
            new("deduct_credits_for_action", "application-side, select for update", 2),
            new("deduct_credits_for_action, idempotency key", "floor: one update, one insert", 0.65),
            new("the HTTP API, POST /api/credits/deduct", "the library, DeductAsync", 0.6),
        ]);

    /// <summary>Many charges in one call, over random accounts.</summary>
    public Contest Batches(int clients) => new(
        "Batches of 1,000, random accounts",
        [
            Sql("deduct_credits_for_action", Charge, clients),
            Sql("set-based update and insert, 1 client", SetBased, 1, 1000),
            Sql("deduct_credits_batch, 1 client", Batch, 1, 1000),
            new("the library, 1,000 callers of DeductAsync", (time, ct) => Contest.CallersAsync(1000, time, LibraryAsync, ct)),
        ],
        [
            new("deduct_credits_batch, 1 client", "deduct_credits_for_action", 6),
            new("deduct_credits_batch, 1 client", "set-based update and insert, 1 client", 0.75),
            new("the library, 1,000 callers of DeductAsync", "deduct_credits_for_action", 9),
        ]);

    /// <summary>Everybody at one account.</summary>
    public Contest Hot(int callers) => new(
        $"One hot account, {callers} callers",
        [
            Sql("deduct_credits_for_action", "select credits.deduct_credits_for_action(public.account(1), 'weekly_report');", callers),
            new("the library, DeductAsync", (time, ct) => Contest.CallersAsync(callers, time, async (_, _, token) =>
            {
                await client.DeductAsync(BenchServer.Account(1), "weekly_report", ct: token);
                return 1;
            }, ct)),
            new("the HTTP API, POST /api/credits/deduct", (time, ct) => Contest.CallersAsync(callers, time, (_, _, token) => host.DeductAsync(BenchServer.Account(1), token), ct)),
        ],
        [new("the HTTP API, POST /api/credits/deduct", "deduct_credits_for_action", 20), new("the library, DeductAsync", "deduct_credits_for_action", 20)]);

    /// <summary>Rows that charge, inserted by the thousand for one user.</summary>
    public Contest Bulk(int rows) => new(
        "Bulk insert into a table that charges, rows of one user",
        [
            Rows($"{rows:N0} rows, trigger disabled", rows, "alter table public.reports disable trigger user"),
            Rows($"{rows:N0} rows", rows, "alter table public.reports enable trigger user"),
            Rows($"{rows / 20:N0} rows", rows / 20, "alter table public.reports enable trigger user"),
            new($"{rows:N0} single-row inserts, one transaction", (_, ct) => TimedAsync(
                rows, $"do $$ begin for i in 1 .. {rows} loop insert into public.reports (user_id, name) values (public.account(2), 'a report'); end loop; end $$", ct)),
        ],
        [
            new($"{rows:N0} rows", $"{rows:N0} rows, trigger disabled", 0.25),
            new($"{rows:N0} rows", $"{rows / 20:N0} rows", 0.85),
        ]);

    /// <summary>How far a megabyte goes: of what is written ahead and shipped to standbys, and of the disk.</summary>
    public Contest Bytes(int clients)
    {
        const string wal = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
        static string Disk(string tables) => $"select sum(pg_total_relation_size(c.oid)) from pg_class c where c.relkind = 'r' and {tables}";
        var (floor, credits) = (Disk("c.oid in ('public.floor_balances'::regclass, 'public.floor_history'::regclass)"), Disk("c.relnamespace = 'credits'::regnamespace"));
        const string one = "floor: one update, one insert";
        const string charge = "deduct_credits_for_action";
        const string keyed = "deduct_credits_for_action, idempotency key";
        return new Contest(
            $"Charges per megabyte, random accounts, {clients} clients",
            [
                Grows($"{one}; WAL", Floor, clients, wal), Grows($"{charge}; WAL", Charge, clients, wal), Grows($"{keyed}; WAL", Keyed, clients, wal),
                Grows($"{one}; disk", Floor, clients, floor, 4), Grows($"{charge}; disk", Charge, clients, credits, 4), Grows($"{keyed}; disk", Keyed, clients, credits, 4),
            ],
            [
                new($"{charge}; WAL", $"{one}; WAL", 0.5), new($"{keyed}; WAL", $"{one}; WAL", 0.5),
                new($"{charge}; disk", $"{one}; disk", 0.5), new($"{keyed}; disk", $"{one}; disk", 0.5),
            ],
            "per MB");
    }

    /// <summary>The HTTP API, request by request: what it can be asked for lastingly, by a service.</summary>
    public Contest Http(int callers)
    {
        const string library = "the library, DeductAsync";
        return new Contest(
            $"HTTP, {callers} callers: the highest rate held with 99 of 100 answers within 100 ms",
            [
                new(library, (time, ct) => Paced.HeldAsync(callers, time, async (random, token) => await LibraryAsync(0, random, token) > 0, ct)),
                Post("/api/credits/deduct", user => new { userId = user, actionType = "weekly_report" }),
                Post("/api/credits/deduct/batch", user => new { items = Enumerable.Repeat(new { userId = user, actionType = "weekly_report" }, 10) }, " (10)"),
                Post("/api/credits/check", user => new { userId = user, actionType = "weekly_report" }),
                Post("/api/credits/track", user => new { userId = user, operation = "prompt_formatting", usage = new { success = true } }),
                Held("POST /api/credits/reservations, …/commit", HoldAsync),
                Held("POST /api/credits/deduct, /api/credits/refunds", RefundAsync),
                Post("/api/accounts", user => new { userId = user, planId = "paid" }),
                Post("/api/tokens", user => new { userId = user }),
                Get("/api/credits/balance"),
                Get("/api/credits/costs"),
                Get("/api/credits/packages"),
                Get("/api/credits/purchases"),
                Get("/api/usage/stats"),
                Get("/api/usage/features"),
                Get("/api/usage/logs"),
                Get("/api/usage/logs.csv"),
                Get("/api/notifications"),
            ],
            [new("POST /api/credits/deduct", library, 0.6)]);

        Contestant Held(string name, Func<Guid, CancellationToken, Task<bool>> once) =>
            new(name, (time, ct) => Paced.HeldAsync(callers, time, (random, token) => once(AnyAccount(random), token), ct));
        Contestant Get(string path) => Held("GET " + path, (user, ct) => host.AskAsync(HttpMethod.Get, $"{path}?userId={user}", null, ct));
        Contestant Post(string path, Func<Guid, object> body, string what = "") =>
            Held($"POST {path}{what}", (user, ct) => host.AskAsync(HttpMethod.Post, path, body(user), ct));

        async Task<bool> HoldAsync(Guid user, CancellationToken ct)
        {
            var hold = await host.JsonAsync("/api/credits/reservations", new { userId = user, actionType = "weekly_report", quantity = 2, ttlSeconds = 600 }, ct);
            return await host.AskAsync(HttpMethod.Post, $"/api/credits/reservations/{hold.GetProperty("reservationId").GetGuid()}/commit", new { userId = user, quantity = 1 }, ct);
        }

        async Task<bool> RefundAsync(Guid user, CancellationToken ct)
        {
            var charge = await host.JsonAsync("/api/credits/deduct", new { userId = user, actionType = "weekly_report" }, ct);
            return await host.AskAsync(HttpMethod.Post, "/api/credits/refunds", new { userId = user, logId = charge.GetProperty("logId").GetInt64(), reason = "benchmark" }, ct);
        }
    }

    /// <summary>Reading an old account beside a young one.</summary>
    public async Task<Contest> AgeAsync(int entries, CancellationToken ct)
    {
        // History is imported as it would have been written: by charges, in batches.
        await server.RunAsync($"select credits.add_purchased_credits(public.account(n), 100000000) from generate_series(3, 4) n", ct);
        await FillAsync(BenchServer.Account(3), 1_000, ct);
        await FillAsync(BenchServer.Account(4), entries, ct);
        await server.RunAsync("vacuum analyze credits.credit_ledger", ct);
        await RollUpAsync(ct);
        var contestants = new List<Contestant>();
        var targets = new List<Target>();
        foreach (var (name, sql) in new[]
        {
            ("balance", "select credits.get_credit_balance(public.account({0}))"),
            ("stats", "select credits.get_usage_stats(public.account({0}))"),
            ("feature usage", "select * from credits.get_feature_usage(public.account({0}))"),
            ("first page of logs", "select * from credits.credit_usage_logs where user_id = public.account({0}) and credit_type = 'credits' order by id desc limit 50"),
        })
        {
            contestants.Add(Sql($"{name}, 1,000 entries", string.Format(CultureInfo.InvariantCulture, sql, 3) + ";", 1));
            contestants.Add(Sql($"{name}, {entries:N0} entries", string.Format(CultureInfo.InvariantCulture, sql, 4) + ";", 1));
            targets.Add(new($"{name}, {entries:N0} entries", $"{name}, 1,000 entries", 1 / 1.3));
        }

        return new Contest("Reading an account with a long history", contestants, targets);
    }

    /// <summary>Proving the books, in entries per second.</summary>
    public Contest Verify() => new(
        "verify_ledger(), target 500,000",
        [
            new("entries verified", async (_, ct) =>
            {
                var entries = await server.ValueAsync<long>("select count(*) from credits.credit_ledger", ct);
                var watch = Stopwatch.StartNew();
                var problems = await server.ValueAsync<long>("select count(*) from credits.verify_ledger()", ct);
                return problems == 0 ? entries / watch.Elapsed.TotalSeconds : throw new InvalidOperationException($"verify_ledger() found {problems} discrepancies.");
            }),
        ],
        []);

    /// <summary>What the naive way lost, of what it says that it charged.</summary>
    public Task<decimal> LostByCheckThenActAsync(CancellationToken ct) => server.ValueAsync<decimal>(
        "select coalesce((select sum(amount) from public.naive_log), 0) - (select sum(1000000 - balance) from public.naive_balances)", ct);

    private const string SetBased =
        """
        with r as (
          select public.account(1 + (random() * (:accounts - 1))::int) as id from generate_series(1, 1000)
        ), t as (
          select id, count(*) as n from r group by id order by id
        ), b as (
          update public.floor_balances f set balance = f.balance - t.n, entry_no = f.entry_no + t.n from t where f.id = t.id returning f.id, f.entry_no, f.balance, t.n
        )
        insert into public.floor_history (id, entry_no, amount, balance)
        select b.id, b.entry_no - b.n + i, -1, b.balance + b.n - i from b cross join lateral generate_series(1, b.n) i;
        """;

    private const string Batch =
        """
        select count(*) from credits.deduct_credits_batch((
          select jsonb_agg(jsonb_build_object('user_id', public.account(1 + (random() * (:accounts - 1))::int), 'action_type', 'weekly_report'))
          from generate_series(1, 1000)));
        """;

    private Contestant Sql(string name, string script, int clients, int each = 1) =>
        new(name, async (time, ct) => each * (await Pgbench.RunAsync(server, script, clients, time, ct)).PerSecond);

    /// <summary>Transactions per megabyte by which a counter of the server grows while they run. Tables grow by up to 4 MB at a time, so the disk is measured longer.</summary>
    private Contestant Grows(string name, string script, int clients, string counter, int times = 1) => new(name, async (time, ct) =>
    {
        var before = await server.ValueAsync<decimal>(counter, ct);
        var run = await Pgbench.RunAsync(server, script, clients, time * times, ct);
        return run.Transactions * 1e6 / (double)(await server.ValueAsync<decimal>(counter, ct) - before);
    });

    private Contestant Rows(string name, int rows, string before) => new(name, async (_, ct) =>
    {
        await server.RunAsync(before, ct);
        return await TimedAsync(rows, $"insert into public.reports (user_id, name) select public.account(2), 'a report' from generate_series(1, {rows})", ct);
    });

    private async Task<double> TimedAsync(int rows, string sql, CancellationToken ct)
    {
        var watch = Stopwatch.StartNew();
        await server.RunAsync(sql, ct);
        return rows / watch.Elapsed.TotalSeconds;
    }

    private async Task<int> LibraryAsync(int caller, Random random, CancellationToken ct)
    {
        await client.DeductAsync(AnyAccount(random), "weekly_report", ct: ct);
        return 1;
    }

    /// <summary>As products do it that lock: four round trips in a transaction.</summary>
    private async Task<int> ApplicationSideAsync(int caller, Random random, CancellationToken ct)
    {
        var id = AnyAccount(random);
        await using var connection = await server.Source.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        async Task<object?> Statement(string sql, params object[] arguments)
        {
            await using var command = new NpgsqlCommand(sql, connection, transaction);
            foreach (var argument in arguments)
                command.Parameters.Add(new NpgsqlParameter { Value = argument });
            return await command.ExecuteScalarAsync(ct);
        }

        var price = (decimal)(await Statement("select price from public.naive_prices where action_type = $1", "weekly_report"))!;
        var balance = (decimal)(await Statement("select balance from public.naive_balances where id = $1 for update", id))!;
        if (balance < price)
            return 0;
        await Statement("update public.naive_balances set balance = $2 where id = $1", id, balance - price);
        await Statement("insert into public.naive_log (id, action_type, amount) values ($1, $2, $3)", id, "weekly_report", price);
        await transaction.CommitAsync(ct);
        return 1;
    }

    private Guid AnyAccount(Random random) => BenchServer.Account(random.Next(1, server.Accounts + 1));

    private async Task FillAsync(Guid user, int entries, CancellationToken ct)
    {
        for (var left = entries; left > 0; left -= 5_000)
            await server.RunAsync(
                $"""
                select count(*) from credits.deduct_credits_batch((
                  select jsonb_agg(jsonb_build_object('user_id', '{user}'::uuid, 'action_type', 'weekly_report')) from generate_series(1, {Math.Min(left, 5_000)})))
                """,
                ct);
    }

    private async Task RollUpAsync(CancellationToken ct)
    {
        Guid? last = null;
        do
            last = (await client.RollUpUsageAsync(last, 1000, ct)).LastUserId;
        while (last is not null);
    }
}
