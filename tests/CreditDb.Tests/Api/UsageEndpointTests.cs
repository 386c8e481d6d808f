using CreditDb.Host.Api;

namespace CreditDb.Tests.Api;

/// <summary>Statistics, the history in pages, and the history as a file.</summary>
public sealed class UsageEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task Statistics_and_features_are_those_of_the_engine()
    {
        var user = Guid.NewGuid();
        await host.Service.Post("/api/accounts", new { userId = user }).JsonAsync(201);
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).JsonAsync();
        var stats = await host.Service.Get($"/api/usage/stats?userId={user}").JsonAsync();
        Assert.Equal((5, 100, 95, 5), (stats.Number("used"), stats.Number("limit"), stats.Number("remaining"), stats.Number("percentage")));
        Assert.Equal("create_agent", stats.GetProperty("totals")[0].Text("actionType"));
        using var person = await host.UserAsync(user);
        Assert.Equal(1, (await person.Get("/api/usage/features").JsonAsync())[0].Number("dailyUses"));
        Assert.Equal(0, (await person.Get("/api/usage/features?actionType=send_email").JsonAsync())[0].Number("dailyUses"));
        await host.Service.Get($"/api/usage/stats?userId={Guid.NewGuid()}").ProblemAsync(404, "unknown_account");
    }

    [Fact]
    public async Task Pages_bring_every_charge_once_newest_first_with_what_was_imported_at_the_end()
    {
        var user = await host.Database.Account(1000);
        await host.Database.Run("select credits.deduct_credits_for_action($1, case when n % 3 = 0 then 'create_agent' else 'send_email' end) from generate_series(1, 45) n", user);
        await host.Database.Run(
            """
            select credits.import_history($1, (select jsonb_agg(jsonb_build_object('id', n::text, 'action_type', 'old', 'amount_used', 1, 'created_at', '2020-01-01T00:00:00Z'))
              from generate_series(1, 7) n))
            """, user);
        var (seen, before) = (new List<long>(), "");
        do
        {
            var page = await host.Service.Get($"/api/usage/logs?userId={user}&limit=10{before}").JsonAsync();
            seen.AddRange(page.GetProperty("logs").EnumerateArray().Select(l => (long)l.Number("id")));
            before = page.Text("nextBefore") is { Length: > 0 } next ? "&before=" + next : "";
        }
        while (before.Length > 0);
        Assert.Equal(await host.Database.Column<long>("select id from credits.credit_usage_logs where user_id = $1 order by id desc", user), seen);
        Assert.Equal(52, seen.Count);
        Assert.Equal(-7, seen[^1]);

        async Task<int> Count(string filter) => (await host.Service.Get($"/api/usage/logs?userId={user}&limit=200&{filter}").JsonAsync()).GetProperty("logs").GetArrayLength();
        Assert.Equal((15, 7, 45, 0), (await Count("actionType=create_agent"), await Count("to=2021-01-01T00:00:00Z"), await Count("from=2021-01-01T00:00:00Z"), await Count("creditType=chat_messages")));
    }

    [Fact]
    public async Task A_page_is_found_by_the_primary_keys()
    {
        var user = await host.Database.Account(1000);
        await host.Database.Run("select credits.deduct_credits_for_action($1, 'send_email') from generate_series(1, 500) n", user);
        await host.Database.Run("analyze");
        var sql = (string)typeof(UsageEndpoints).GetField("LogsSql", System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static)!.GetValue(null)!;
        await using var connection = await host.Database.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("set plan_cache_mode = force_generic_plan");
        await connection.Run($"prepare page (uuid, text, bigint, text, timestamptz, timestamptz, bigint) as {sql}");
        var plan = string.Join('\n', await connection.Column<string>($"explain (costs off) execute page ('{user}', 'credits', 300, null, null, null, 51)"));
        Assert.Contains("Index Scan Backward using credit_ledger_pkey", plan, StringComparison.Ordinal);
        Assert.Contains("Index Scan Backward using credit_ledger_archive_pkey", plan, StringComparison.Ordinal);
        Assert.Contains("Index Scan Backward using imported_usage_ids", plan, StringComparison.Ordinal);
        // The few grants that this database has fill one page.
        Assert.DoesNotMatch("Seq Scan on (?!stored_grants)", plan);
        Assert.DoesNotContain("Sort  ", plan, StringComparison.Ordinal);
        Assert.Contains("entry_no < $3", plan, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("limit=0")]
    [InlineData("limit=201")]
    [InlineData("limit=x")]
    [InlineData("before=x")]
    [InlineData("from=yesterday")]
    [InlineData("userId=x")]
    [InlineData("limit=")]
    [InlineData("before=")]
    [InlineData("from=")]
    [InlineData("userId=")]
    [InlineData("creditType=credits&creditType=credits")]
    public async Task A_malformed_parameter_is_named(string query)
    {
        var user = query.StartsWith("userId", StringComparison.Ordinal) ? "" : $"userId={Guid.NewGuid()}&";
        using var answer = await host.Service.Get($"/api/usage/logs?{user}{query}");
        var problem = await Task.FromResult(answer).JsonAsync(400);
        Assert.Contains(query.Split('=')[0], problem.Text("detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_file_is_csv_that_no_spreadsheet_runs()
    {
        var user = await host.Database.Account(100);
        var metadata = new { note = "a \"quoted\", text" };
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent", metadata }).JsonAsync();
        await host.Database.Run("insert into public.bots (id, user_id, name) values (gen_random_uuid(), $1, 'x')", user);
        using var person = await host.UserAsync(user);
        using var answer = await person.Get("/api/usage/logs.csv?from=2020-01-01T00:00:00Z");
        Assert.Equal(("text/csv", "utf-8", "attachment"), (answer.Content.Headers.ContentType!.MediaType, answer.Content.Headers.ContentType.CharSet, answer.Content.Headers.ContentDisposition!.DispositionType));
        var lines = (await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).Split("\r\n");
        Assert.Equal((4, ""), (lines.Length, lines[^1]));
        Assert.StartsWith("id,createdAt,creditType,actionType,", lines[0], StringComparison.Ordinal);
        Assert.Contains(",create_agent,action,1,5,95,90,", lines[1], StringComparison.Ordinal);
        Assert.EndsWith("\"{\"\"note\"\": \"\"a \\\"\"quoted\\\"\", text\"\"}\"", lines[2], StringComparison.Ordinal);
        await host.Service.Get("/api/usage/logs.csv").ProblemAsync(400, "user_required");
    }

    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("a,b", "\"a,b\"")]
    [InlineData("a\nb", "\"a\nb\"")]
    [InlineData("say \"x\"", "\"say \"\"x\"\"\"")]
    [InlineData("=1+1", "'=1+1")]
    [InlineData("+1", "'+1")]
    [InlineData("-1", "'-1")]
    [InlineData("@x", "'@x")]
    [InlineData("\tx", "'\tx")]
    [InlineData("=\"x\"", "\"'=\"\"x\"\"\"")]
    public void A_text_is_quoted_and_disarmed(string text, string field) => Assert.Equal(field, CsvWriter.Field(text));

    [Fact]
    public void A_number_stays_a_number() => Assert.Equal(("-5.25", "-7", ""), (CsvWriter.Field(-5.25m), CsvWriter.Field(-7L), CsvWriter.Field(null)));

    [Fact]
    public async Task A_user_gets_two_files_at_a_time_and_a_key_eight()
    {
        var (user, other) = (await host.Database.Account(), await host.Database.Account());
        await host.Database.Run(
            """
            insert into credits.imported_usage (user_id, import_no, legacy_id, action_type, amount_used, metadata, created_at, imported_at)
            select u, n, n::text, 'old', 1, jsonb_build_object('text', repeat('x', 400)), '2020-01-01', now() from generate_series(1, 40000) n, unnest($1) u
            """, [new[] { user, other }]);
        await using var factory = host.Configured([("Urls", "http://127.0.0.1:0")]);
        factory.UseKestrel();
        factory.StartServer();
        var ct = TestContext.Current.CancellationToken;
        HttpClient Like(HttpClient caller)
        {
            var client = factory.CreateClient();
            client.DefaultRequestHeaders.Authorization = caller.DefaultRequestHeaders.Authorization;
            return client;
        }

        // Files that somebody has begun to read, and reads no further.
        async Task<List<HttpResponseMessage>> BeginAsync(HttpClient client, int files, Guid who)
        {
            var begun = new List<HttpResponseMessage>();
            for (var n = 0; n < files; n++)
            {
                begun.Add(await client.GetAsync(new Uri($"/api/usage/logs.csv?userId={who}", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, ct));
                Assert.True(begun[^1].IsSuccessStatusCode);
            }

            return begun;
        }

        async Task IsRefusedAsync(HttpClient client, Guid who)
        {
            using var refused = await client.Get($"/api/usage/logs.csv?userId={who}");
            await Task.FromResult(refused).ProblemAsync(429, "too_many_requests");
            Assert.True(refused.Headers.RetryAfter?.Delta >= TimeSpan.FromSeconds(1));
        }

        using var person = Like(await host.UserAsync(user));
        using var sameOne = Like(await host.ClientAsync(["user"], user));
        using var another = Like(await host.UserAsync(other));
        using var service = Like(host.Service);
        var two = await BeginAsync(person, 2, user);
        await IsRefusedAsync(person, user);
        // By whichever token or key of the user, and nobody else.
        await IsRefusedAsync(sameOne, user);
        await person.Get($"/api/usage/logs?userId={user}").JsonAsync();
        var others = await BeginAsync(another, 1, other);
        var eight = await BeginAsync(service, 8, user);
        await IsRefusedAsync(service, other);

        two[0].Dispose();
        await Eventually.TrueAsync(async () =>
        {
            using var answer = await person.GetAsync(new Uri($"/api/usage/logs.csv?userId={user}", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, ct);
            return answer.IsSuccessStatusCode;
        }, "A file that was left is still counted.");
        foreach (var file in two.Concat(others).Concat(eight))
            file.Dispose();
    }

    [Fact]
    public async Task Downloads_leave_half_of_the_connections_to_everybody_else()
    {
        var users = new List<Guid>();
        for (var n = 0; n < 3; n++)
            users.Add(await host.Database.Account(10));
        await host.Database.Run(
            """
            insert into credits.imported_usage (user_id, import_no, legacy_id, action_type, amount_used, metadata, created_at, imported_at)
            select u, n, n::text, 'old', 1, jsonb_build_object('text', repeat('x', 400)), '2020-01-01', now() from generate_series(1, 40000) n, unnest($1) u
            """, [users.ToArray()]);
        await using var factory = host.Configured([("Urls", "http://127.0.0.1:0"), ("ConnectionStrings:CreditDb", host.Database.ConnectionString + ";Maximum Pool Size=4")]);
        factory.UseKestrel();
        factory.StartServer();
        var begun = new List<HttpResponseMessage>();
        foreach (var user in users)
        {
            using var person = factory.CreateClient();
            person.DefaultRequestHeaders.Authorization = (await host.UserAsync(user)).DefaultRequestHeaders.Authorization;
            begun.Add(await person.GetAsync(new Uri("/api/usage/logs.csv", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken));
            Assert.Equal(10, (await person.Get("/api/credits/balance").JsonAsync()).Number("total"));
        }

        Assert.Equal([200, 200, 429], begun.Select(b => (int)b.StatusCode));
        begun.ForEach(b => b.Dispose());
    }

    [Fact]
    public async Task A_long_file_streams_at_the_pace_of_its_reader_and_ends_with_it()
    {
        var user = await host.Database.Account();
        await host.Database.Run(
            """
            insert into credits.imported_usage (user_id, import_no, legacy_id, action_type, amount_used, metadata, created_at, imported_at)
            select $1, n, n::text, 'old', 1, jsonb_build_object('text', repeat('x', 400)), '2020-01-01', now() from generate_series(1, 150000) n
            """, user);
        await using var factory = host.Configured([("Urls", "http://127.0.0.1:0")]);
        factory.UseKestrel();
        factory.StartServer();
        using var client = factory.CreateClient();
        client.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        var path = $"/api/usage/logs.csv?userId={user}";
        var ct = TestContext.Current.CancellationToken;

        var length = 0L;
        using (var answer = await client.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, ct))
        await using (var body = await answer.Content.ReadAsStreamAsync(ct))
        {
            var buffer = new byte[64 * 1024];
            for (int read; (read = await body.ReadAsync(buffer, ct)) > 0;)
                length += read;
        }

        Assert.True(length > 60_000_000, $"{length} bytes");

        // Nobody reads on, so PostgreSQL waits too: nothing between it and the reader keeps what is not read.
        const string Running = "select count(*) from pg_stat_activity where state = 'active' and query like '%credit_usage_logs l%' and pid <> pg_backend_pid() and datname = current_database()";
        using (var answer = await client.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, ct))
        await using (var body = await answer.Content.ReadAsStreamAsync(ct))
        {
            await body.ReadExactlyAsync(new byte[1000], ct);
            // Not only for a moment, while what is on the way fills up.
            var inARow = 0;
            await Eventually.TrueAsync(
                async () => (inARow = await host.Database.Value<long>(Running + " and wait_event = 'ClientWrite'") == 1 ? inARow + 1 : 0) == 10, "PostgreSQL does not wait for the reader");
        }

        await Eventually.TrueAsync(async () => await host.Database.Value<long>(Running) == 0, "The statement goes on without a reader.");
    }
}
