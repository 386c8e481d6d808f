using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Model;

/// <summary>
/// Long random sequences of all operations, each compared with the model after every step. CREDITDB_PROPERTY_SEQUENCES says how many sequences
/// (60), CREDITDB_PROPERTY_SEED repeats a run; a failure prints the seed and the statements up to it, ready for psql.
/// </summary>
public sealed class ModelTests(TestDatabase db, ITestOutputHelper output) : IClassFixture<TestDatabase>
{
    private const int Steps = 100;
    private const int Workers = 4;

    public static int Setting(string name, int usual) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.Integer, CultureInfo.InvariantCulture, out var value) ? value : usual;

    [Fact]
    public async Task Random_sequences_do_what_the_model_does()
    {
        foreach (var statement in World.Setup())
            await db.Run(statement);
        var sequences = Setting("CREDITDB_PROPERTY_SEQUENCES", 60);
        var seed = Setting("CREDITDB_PROPERTY_SEED", Random.Shared.Next());
        var started = TimeProvider.System.GetTimestamp();
        var numbers = new ConcurrentQueue<int>(Enumerable.Range(0, sequences));
        var failures = new ConcurrentQueue<SequenceException>();
        var codes = new ConcurrentDictionary<string, int>();
        await Task.WhenAll(Enumerable.Range(0, Workers).Select(async _ =>
        {
            await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(db.ConnectionString) { Timezone = "UTC", Pooling = false }.ConnectionString);
            await using var one = await source.OpenConnectionAsync();
            await using var other = await source.OpenConnectionAsync();
            while (numbers.TryDequeue(out var number))
            {
                try
                {
                    await new Sequence(seed, number, [one, other], codes).RunAsync(Steps);
                }
                catch (SequenceException failure)
                {
                    failures.Enqueue(failure);
                }
            }
        }));
        var shortestFirst = failures.OrderBy(f => f.Steps.Length).ToList();
        foreach (var failure in shortestFirst.Skip(1))
            output.WriteLine(failure.Message);
        if (shortestFirst.FirstOrDefault() is { } shortest)
            Assert.Fail($"{failures.Count} of {sequences} sequences fail. The shortest: {shortest.Message}\n{shortest.Steps}");
        output.WriteLine($"Seed {seed}: {sequences} sequences of {Steps} operations in {TimeProvider.System.GetElapsedTime(started).TotalSeconds:0.0} s.");
        output.WriteLine(string.Join("\n", codes.OrderBy(c => c.Key).Select(c => $"{c.Key}: {c.Value}")));
        Assert.Equal(sequences, codes["sequences"]);
        Assert.Empty(await db.Column<string>("select v::text from credits.verify_ledger() v"));
    }

    private sealed class SequenceException(string message, string steps, Exception cause) : Exception(message, cause)
    {
        public string Steps { get; } = steps;
    }

    /// <summary>One user's sequence. It goes back and forth between its connections.</summary>
    private sealed class Sequence(int seed, int number, NpgsqlConnection[] connections, ConcurrentDictionary<string, int> codes)
    {
        private readonly Random _random = new(unchecked((seed * 31) + number));
        private readonly StringBuilder _log = new();
        private readonly SortedDictionary<DateTime, decimal> _balances = [];
        private CreditModel _model = null!;

        public async Task RunAsync(int steps)
        {
            var operations = new Operations(_random);
            var user = operations.NewId();
            var plan = World.Plans.Values.ElementAt(_random.Next(World.Plans.Count));
            var zone = World.Zones[_random.Next(World.Zones.Length)];
            _model = new CreditModel(user, World.Prices, World.Plans, World.Packages, plan, TimeZoneInfo.FindSystemTimeZoneById(zone)) { Clock = Beginning() };
            foreach (var connection in connections)
                await connection.Run("select set_config('test.user', $1, false)", user.ToString());
            try
            {
                await StepAsync(new Operation($"select credits.open_account({user.Sql()}, '{plan.Id}', '{zone}')", m => m.Open()), _model.Clock);
                for (var step = 0; step < steps; step++)
                {
                    var clock = NextClock();
                    _model.Clock = clock;
                    await StepAsync(operations.Next(_model), clock);
                }
                await CompareAllAsync();
            }
            catch (Exception problem)
            {
                throw new SequenceException($"CREDITDB_PROPERTY_SEED={seed} fails in sequence {number}: {problem.Message}",
                    $"set test.user = '{user}';\n{_log}", problem);
            }
            codes.AddOrUpdate("sequences", 1, (_, n) => n + 1);
        }

        /// <summary>Often the end of a month, or about where clocks change.</summary>
        private DateTime Beginning()
        {
            var day = _random.Next(3) switch
            {
                0 => new DateTime(2024 + _random.Next(4), 1, 28, 0, 0, 0, DateTimeKind.Utc).AddDays(_random.Next(4)),
                1 => new DateTime(2024 + _random.Next(4), _random.Next(2) == 0 ? 3 : 10, 24, 0, 0, 0, DateTimeKind.Utc).AddDays(_random.Next(8)),
                _ => new DateTime(2024, 1, 1, 0, 0, 0, DateTimeKind.Utc).AddDays(_random.Next(1400)),
            };
            return day.AddSeconds(_random.Next(86400)).AddMicroseconds(_random.Next(2) == 0 ? 0 : _random.Next(1_000_000));
        }

        /// <summary>Seconds to seventy days on, the very moment at which something falls due, or another machine's clock that lags behind.</summary>
        private DateTime NextClock()
        {
            var clock = _model.Clock;
            var kind = _random.Next(100);
            var due = _model.Wallets.Values.Select(w => w.NextDue).Min();
            return kind switch
            {
                < 55 => clock.AddSeconds(_random.Next(60)),
                < 72 => clock.AddSeconds(_random.Next(4 * 3600)),
                < 84 => clock.AddSeconds(_random.Next(3 * 86400)),
                < 88 => clock.AddSeconds(_random.Next(70 * 86400)),
                < 96 when due > clock => due.Value.AddMicroseconds(_random.Next(-1, 2)),
                < 98 => clock.AddSeconds(-_random.Next(600)),
                _ => clock,
            };
        }

        private async Task StepAsync(Operation operation, DateTime clock)
        {
            var connection = connections[_random.Next(connections.Length)];
            _log.Append(CultureInfo.InvariantCulture, $"set test.clock = {clock.Sql()}; {operation.Sql};\n");
            var next = _model.Copy();
            next.Clock = clock;
            var expected = operation.Model(next);
            // The other wallet only where the operation may have touched it, and now and then.
            var touchesAll = operation.ChangesNothing || operation.TouchesAll || operation.Sql.Contains("chat_message", StringComparison.Ordinal) || _random.Next(4) == 0;
            string[] types = touchesAll ? [.. World.CreditTypes] : ["credits"];
            string[] before = operation.ChangesNothing ? [.. Balances(types), .. Histories()] : [];
            List<string> statements = [.. before, operation.Sql, .. operation.ChangesNothing ? before : Balances(types)];
            JsonElement?[] answers;
            try
            {
                answers = await AskAsync(connection, clock, statements);
                if (expected.SqlState is not null)
                    throw new InvalidOperationException($"expected {expected.SqlState}, got {answers[0]}");
            }
            catch (PostgresException error) when (expected.SqlState == error.SqlState)
            {
                Tally(operation, error.SqlState);
                CompareBalances(types, await AskAsync(connection, clock, Balances(types)));
                return;
            }
            CompareBalances(types.Take(before.Length), answers);
            _model = next;
            var at = before.Length;
            foreach (var (n, statement) in before.Index())
            {
                if (answers[n].ToString() != answers[at + 1 + n].ToString())
                    throw new InvalidOperationException($"{statement} was {answers[n]} and became {answers[at + 1 + n]}");
            }
            if (operation is { ReturnsOutcome: true, ChangesNothing: false })
            {
                Compare(operation.Sql, expected, answers[at]!.Value);
                expected.Learn?.Invoke(answers[at]!.Value);
            }
            Tally(operation, expected.Code as string ?? "written");
            CompareBalances(types, answers[(at + 1)..]);
            // What the ledger stood at then must still be known at the end.
            if (_model.Credits.EntryNo > 0)
                _balances[_model.Credits.LastEntryAt] = _model.Credits.Balance;
        }

        private void Tally(Operation operation, string code)
        {
            var name = operation.Sql.Split('(', 2)[0].Replace("select credits.", "", StringComparison.Ordinal).Trim();
            codes.AddOrUpdate($"{(name.StartsWith("update", StringComparison.Ordinal) ? "update public.calls" : name)} {code}", 1, (_, n) => n + 1);
        }

        private IEnumerable<string> Balances(string[] types) => types.Select(t => $"select credits.get_credit_balance({_model.UserId.Sql()}, '{t}')");

        /// <summary>What there is to read beside the balance.</summary>
        private IEnumerable<string> Histories()
        {
            // Chat time that is owed is used when it is paid, which what is due may do.
            if (_model.Sessions.All(s => s.Owed == 0))
            {
                yield return $"select credits.get_usage_stats({_model.UserId.Sql()})";
                yield return $"select coalesce(jsonb_agg(f order by f.action_type), '[]')::text from credits.get_feature_usage({_model.UserId.Sql()}) f";
            }
            if (_balances.Keys.Where(at => at <= _model.Clock).ToList() is { Count: > 0 } moments)
                yield return $"select credits.get_balance_at({_model.UserId.Sql()}, {moments[_random.Next(moments.Count)].Sql()})";
        }

        private void CompareBalances(IEnumerable<string> types, IEnumerable<JsonElement?> answers)
        {
            foreach (var (type, answer) in types.Zip(answers))
                Compare("get_credit_balance of " + type, _model.Balance(type), answer!.Value);
        }

        /// <summary>One round trip and one transaction. A statement without an answer gives null.</summary>
        private static async Task<JsonElement?[]> AskAsync(NpgsqlConnection connection, DateTime clock, IEnumerable<string> statements)
        {
            await using var batch = new NpgsqlBatch(connection);
            batch.BatchCommands.Add(new NpgsqlBatchCommand($"set test.clock = {clock.Sql()}"));
            var isAnswered = new List<bool>();
            foreach (var statement in statements)
            {
                batch.BatchCommands.Add(new NpgsqlBatchCommand(statement));
                isAnswered.Add(statement.StartsWith("select", StringComparison.Ordinal));
            }
            var answers = new List<JsonElement?>();
            await using var reader = await batch.ExecuteReaderAsync();
            foreach (var answered in isAnswered)
            {
                if (!answered)
                {
                    answers.Add(null);
                    continue;
                }
                await reader.ReadAsync();
                answers.Add(reader.GetFieldType(0) == typeof(string) ? JsonDocument.Parse(reader.GetString(0)).RootElement : null);
                await reader.NextResultAsync();
            }
            return [.. answers];
        }

        private async Task CompareAllAsync()
        {
            var connection = connections[0];
            await connection.Run($"set test.clock = {_model.Clock.Sql()}");
            foreach (var wallet in _model.Wallets.Values)
            {
                Same("grants", wallet.Grants.Select(g => $"{g.No} {g.Source} {g.Amount.Sql()} {g.Remaining.Sql()} {g.Priority} {Moment(g.Expires)}"),
                    await connection.Column<string>(
                        """
                        select concat_ws(' ', grant_no, source, trim_scale(amount), trim_scale(remaining), priority,
                          coalesce(to_char(nullif(expires_at, 'infinity'), 'YYYY-MM-DD HH24:MI:SS.US'), 'never'))
                        from credits.credit_grants where user_id = $1 and credit_type = $2 order by grant_no
                        """, _model.UserId, wallet.CreditType));
                Same("charges", wallet.Charges.OrderBy(c => c.EntryNo).Select(c => $"{c.EntryNo} {c.Action} {c.Amount.Sql()}"), await connection.Column<string>(
                    "select concat_ws(' ', id, action_type, trim_scale(amount_used)) from credits.credit_usage_logs where user_id = $1 and credit_type = $2 and id > 0 order by id",
                    _model.UserId, wallet.CreditType));
                Same("holds", wallet.Holds.OrderBy(h => h.EntryNo).Select(h => $"{h.EntryNo} {h.Status} {h.Amount.Sql()} {Moment(h.Expires)}"), await connection.Column<string>(
                    """
                    select concat_ws(' ', hold_entry_no, status, trim_scale(amount), to_char(expires_at, 'YYYY-MM-DD HH24:MI:SS.US'))
                    from credits.credit_reservations where user_id = $1 and credit_type = $2 order by hold_entry_no
                    """, _model.UserId, wallet.CreditType));
            }
            Same("purchases", _model.Purchases.Select(p => $"{p.Id.Id} {p.Status} {p.RefundedMinor} {p.RefundedCredits.Sql()} {p.GrantNo}").Order(StringComparer.Ordinal),
                await connection.Column<string>(
                    """
                    select concat_ws(' ', purchase_id, status, refunded_minor, trim_scale(refunded_credits), coalesce(grant_no, 0)) collate "C" as t
                    from credits.credit_purchases where user_id = $1 order by t
                    """, _model.UserId));
            Same("purchase debt", [_model.Credits.PurchaseDebt], await connection.Column<decimal>(
                "select purchase_debt from credits.wallets where user_id = $1 and credit_type = 'credits'", _model.UserId));
            Same("chat sessions", _model.Sessions.Select(s => $"{s.Id} {s.Elapsed} {s.Charged} {s.Used.Sql()} {s.Owed.Sql()}").Order(StringComparer.Ordinal),
                await connection.Column<string>(
                    """
                    select concat_ws(' ', session_id, elapsed_seconds, charged_intervals, trim_scale(credits_used), trim_scale(credits_owed)) collate "C" as t
                    from credits.chat_sessions where user_id = $1 order by t
                    """, _model.UserId));
            Same("uncharged rows", _model.Uncharged.Select(u => $"{u.Source} {u.Row.Id} {u.UnitPrice.Sql()}").Order(StringComparer.Ordinal), await connection.Column<string>(
                "select concat_ws(' ', source, row_id, trim_scale(unit_price)) collate \"C\" as t from credits.uncharged_rows where user_id = $1 order by t", _model.UserId));
            Same("counters", _model.Counters.Select(c => $"{c.Key.Action} {c.Key.Period} {c.Key.No} {c.Value.Sql()}").Order(StringComparer.Ordinal), await connection.Column<string>(
                "select concat_ws(' ', action_type, period, period_no, trim_scale(used)) collate \"C\" as t from credits.usage_counters where user_id = $1 order by t", _model.UserId));
            Same("imported usage", [_model.History.Count], await connection.Column<long>(
                "select count(*) from credits.credit_usage_logs where user_id = $1 and id < 0", _model.UserId));
            Same("minutes", [_model.TotalMinutes], await connection.Column<long>("select total_minutes_used from credits.accounts where user_id = $1", _model.UserId));
            foreach (var (at, balance) in _balances.Where(b => b.Key <= _model.Clock).Where(_ => _random.Next(20) == 0))
            {
                Same($"get_balance_at {at.Sql()}", [balance], await connection.Column<decimal>(
                    $"select (credits.get_balance_at($1, {at.Sql()}) ->> 'balance')::numeric", _model.UserId));
            }
            Same("verify_ledger", [], await connection.Column<string>("select v::text from credits.verify_ledger($1) v", _model.UserId));
        }

        private static string Moment(DateTime? at) => at?.ToString("yyyy-MM-dd HH:mm:ss.ffffff", CultureInfo.InvariantCulture) ?? "never";

        private static void Same<T>(string what, IEnumerable<T> expected, IReadOnlyCollection<T> actual)
        {
            var wanted = expected.ToList();
            if (!wanted.SequenceEqual(actual))
                throw new InvalidOperationException($"{what}: expected\n  {string.Join("\n  ", wanted.Except(actual))}\nbut there is\n  {string.Join("\n  ", actual.Except(wanted))}");
        }

        private static void Compare(string what, Outcome expected, JsonElement actual)
        {
            foreach (var (name, value) in expected.Fields)
            {
                if (!actual.TryGetProperty(name, out var field) || !IsSame(value, field))
                    throw new InvalidOperationException($"{what}: {name} should be {JsonSerializer.Serialize(value)} in {actual}");
            }
        }

        private static bool IsSame(object? expected, JsonElement actual) => expected switch
        {
            null => actual.ValueKind == JsonValueKind.Null,
            bool flag => actual.ValueKind == (flag ? JsonValueKind.True : JsonValueKind.False),
            decimal or int or long => actual.ValueKind == JsonValueKind.Number
                && decimal.Parse(actual.GetRawText(), CultureInfo.InvariantCulture) == Convert.ToDecimal(expected, CultureInfo.InvariantCulture),
            DateTime moment => actual.ValueKind == JsonValueKind.String && actual.GetDateTimeOffset().UtcDateTime == moment,
            Guid id => actual.ValueKind == JsonValueKind.String && actual.GetGuid() == id,
            Dictionary<string, decimal> amounts => actual.EnumerateObject().Count() == amounts.Count
                && amounts.All(a => actual.TryGetProperty(a.Key, out var amount) && IsSame(a.Value, amount)),
            _ => actual.ValueKind == JsonValueKind.String && actual.GetString() == (string)expected,
        };
    }
}
