namespace CreditDb.Tests.Sql;

/// <summary>Accounts that open with the row of their user.</summary>
public sealed class AttachAccountsTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task Signing_up_opens_the_account_with_a_trial_that_expires()
    {
        await db.Run("create table public.users_a (id uuid primary key, zone text)");
        Assert.Equal("ok", (await db.Json("select credits.attach_accounts('public.users_a', p_plan_id => 'paid', p_trial_credits => 12.5, p_trial_days => 14, p_time_zone_column => 'zone')")).Text("code"));
        var (ada, bob, eve) = (Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid());
        await db.Run("insert into public.users_a values ($1, 'Europe/Berlin'), ($2, 'Mars/Olympus'), ($3, null)", ada, bob, eve);
        Assert.Equal(["paid Europe/Berlin", "paid UTC", "paid UTC"],
            await db.Column<string>("select plan_id || ' ' || time_zone from credits.accounts join unnest($1::uuid[]) with ordinality u (user_id, n) using (user_id) order by n", new[] { ada, bob, eve }));
        Assert.Equal(["trial 12.500000 14 days", "trial 12.500000 14 days", "trial 12.500000 14 days"],
            await db.Column<string>("select source || ' ' || amount || ' ' || round(extract(epoch from expires_at - created_at) / 86400) || ' days' from credits.credit_grants where user_id = any ($1) and credit_type = 'credits'", new[] { ada, bob, eve }));

        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", ada);
        var before = await db.Snapshot(ada);
        await db.Run("delete from public.users_a where id = $1", ada);
        await db.Run("insert into public.users_a values ($1, 'UTC')", ada);
        Assert.Equal(before, await db.Snapshot(ada));

        var zoe = Guid.NewGuid();
        await db.Run("insert into public.users_a values ($1, 'UTC'), ($2, 'UTC') on conflict (id) do update set zone = excluded.zone", zoe, ada);
        Assert.Equal((12.5m, before), (await db.Balance(zoe), await db.Snapshot(ada)));
        await using (var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
            await connection.Run("insert into public.users_a values (gen_random_uuid(), 'rolled back')");
        }
        Assert.Equal(0, await db.Value<long>("select count(*) from public.users_a u where not exists (select from credits.accounts a where a.user_id = u.id)"));
    }

    [Fact]
    public async Task A_copy_of_a_thousand_users_with_ids_of_their_own_opens_a_thousand_accounts()
    {
        await db.Run("create table public.users_b (login text not null, zone varchar(40))");
        await db.Run("select credits.attach_accounts('public.users_b', 'login', p_user_issuer => 'https://id.example', p_trial_credits => 5)");
        await using (var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await using var copy = await connection.BeginTextImportAsync("copy public.users_b (login) from stdin", TestContext.Current.CancellationToken);
            for (var n = 0; n < 1000; n++)
                await copy.WriteLineAsync($"user {n % 900}");
        }
        Assert.Equal((900L, 0L), (
            await db.Value<long>("select count(*) from credits.accounts where user_id in (select credits.user_id_for('https://id.example', login) from public.users_b)"),
            await db.Value<long>("select count(*) from credits.wallets where user_id in (select credits.user_id_for('https://id.example', login) from public.users_b) and credit_type = 'credits' and balance <> 105")));
    }

    [Fact]
    public async Task Eight_connections_sign_the_same_users_up_and_open_each_once()
    {
        await db.Run("create table public.users_c (n bigint generated always as identity, id uuid not null)");
        await db.Run("select credits.attach_accounts('public.users_c', p_trial_credits => 7)");
        var users = Enumerable.Range(0, 20).Select(_ => Guid.NewGuid()).ToArray();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(n => db.Run("insert into public.users_c (id) select u from unnest($1::uuid[]) u order by md5(u::text || $2)", users, $"{n}")));
        Assert.Equal(0, await db.Value<long>("select count(*) from unnest($1::uuid[]) u where (credits.get_credit_balance(u) ->> 'total')::numeric <> 107", users));
    }

    [Fact]
    public async Task A_trigger_that_is_disabled_or_missing_is_reported_and_a_detached_one_opens_nothing()
    {
        await db.Run("create table public.users_d (id uuid not null, region text) partition by list (region); create table public.users_d1 partition of public.users_d for values in ('a')");
        await db.Run("select credits.attach_accounts('public.users_d')");
        var (first, second, third) = (Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid());
        await db.Run("insert into public.users_d values ($1, 'a'); ", first);
        await db.Run("insert into public.users_d1 values ($1, 'a')", second);
        Assert.Equal((100m, 100m), (await db.Balance(first), await db.Balance(second)));
        const string problems = "select relation || ' ' || problem from credits.verify_attachments() where relation like '%users_d%' order by 1";
        Assert.Empty(await db.Column<string>(problems));

        await db.Run("alter table public.users_d1 disable trigger user; create table public.users_d2 partition of public.users_d for values in ('b')");
        Assert.Equal(["public.users_d1 disabled", "public.users_d2 missing"], (await db.Column<string>(problems)).Select(p => p.StartsWith("public", StringComparison.Ordinal) ? p : "public." + p));
        await db.Run("select credits.attach_accounts('public.users_d')");
        Assert.Single(await db.Column<string>(problems));
        Assert.Equal("not_found", (await db.Json("select credits.detach_charge('public.users_d')")).Text("code"));

        Assert.Equal("ok", (await db.Json("select credits.detach_accounts('public.users_d')")).Text("code"));
        Assert.Equal("not_found", (await db.Json("select credits.detach_accounts('public.users_d')")).Text("code"));
        await db.Run("insert into public.users_d values ($1, 'b')", third);
        Assert.Equal("", await db.Snapshot(third));
        Assert.Empty(await db.Column<string>(problems));
    }

    [Fact]
    public async Task A_renamed_table_stays_attached_and_can_be_attached_again()
    {
        await db.Run("create table public.users_e (id uuid not null, name text)");
        await db.Run("select credits.attach_accounts('public.users_e')");
        await db.Run("alter table public.users_e rename to members; alter table public.members rename id to member");
        await db.Run("select credits.attach_accounts('public.members', 'member', 'pro')");
        var user = Guid.NewGuid();
        await db.Run("insert into public.members values ($1)", user);
        Assert.Equal(5000, await db.Balance(user));
        Assert.Equal(1, await db.Value<long>("select count(*) from pg_trigger where tgrelid = 'public.members'::regclass"));
    }

    [Fact]
    public async Task A_trigger_made_by_hand_opens_nothing()
    {
        await db.Run("create table public.users_f (id uuid not null); create table public.users_g (id uuid not null)");
        await db.Run("select credits.attach_accounts('public.users_f', p_trial_credits => 1000)");
        await db.Run("create trigger x after insert on public.users_g referencing new table as new_rows for each statement execute function credits.open_accounts('accounts of public.users_f')");
        var user = Guid.NewGuid();
        await db.Run("insert into public.users_g values ($1)", user);
        Assert.Equal("", await db.Snapshot(user));
        Assert.Contains("belongs to no attachment, and charges nothing", await db.Column<string>("select problem from credits.verify_attachments() where relation like '%users_g'"));
    }

    [Theory]
    [InlineData("'credits.accounts', 'user_id'", "p_table")]
    [InlineData("'pg_temp.users_h'", "p_table")]
    [InlineData("'public.users_h', 'nothing'", "p_id_column")]
    [InlineData("'public.users_h', null", "p_id_column")]
    [InlineData("'public.users_h', 'name'", "p_id_column")]
    [InlineData("'public.users_h', 'late'", "p_id_column")]
    [InlineData("'public.users_h', 'id', 'no-plan'", "p_plan_id")]
    [InlineData("'public.users_h', 'id', 'free', ''", "p_user_issuer")]
    [InlineData("'public.users_h', 'id', 'free', null, -1", "p_trial_credits")]
    [InlineData("'public.users_h', 'id', 'free', null, 'NaN'", "p_trial_credits")]
    [InlineData("'public.users_h', 'id', 'free', null, null, 5", "p_trial_days")]
    [InlineData("'public.users_h', 'id', 'free', null, 5, 0", "p_trial_days")]
    [InlineData("'public.users_h', 'id', 'free', null, 5, 5, 'id'", "p_time_zone_column")]
    public async Task Refuses_what_cannot_be_attached(string arguments, string argument)
    {
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("create table if not exists public.users_h (id uuid not null, name text not null, late uuid); create temp table if not exists users_h (id uuid not null)");
        var error = await Assert.ThrowsAsync<Npgsql.PostgresException>(() => connection.Run($"select credits.attach_accounts({arguments})"));
        Assert.Equal("UC001", error.SqlState);
        Assert.Contains($"\"{argument}\"", error.Detail, StringComparison.Ordinal);
        Assert.Equal(0, await connection.Value<long>("select count(*) from credits.charge_attachments where relation = 'public.users_h'::regclass"));
        await connection.Run("drop table pg_temp.users_h");
    }
}
