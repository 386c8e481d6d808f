using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Tests;

/// <summary>Behind PgBouncer in transaction mode each transaction may be another server session's.</summary>
public sealed class PgBouncerTests(TestServer server, TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task Charging_and_migrating_work_behind_PgBouncer_in_transaction_mode()
    {
        var pgbouncer = Tools.Find("pgbouncer", "/usr/sbin");
        Assert.SkipWhen(pgbouncer is null, "pgbouncer is not installed");

        var target = new NpgsqlConnectionStringBuilder(db.ConnectionString);
        var port = FreePort();
        var folder = Directory.CreateTempSubdirectory("creditdb-bouncer-");
        var config = Path.Combine(folder.FullName, "pgbouncer.ini");
        await File.WriteAllTextAsync(config,
            $"""
            [databases]
            * = host={target.Host} port={target.Port} user={target.Username} password={target.Password}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = 3
            ignore_startup_parameters = extra_float_digits
            """, TestContext.Current.CancellationToken);

        using var bouncer = Start(pgbouncer!, folder, config);
        try
        {
            var through = new NpgsqlConnectionStringBuilder(db.ConnectionString) { Port = port, NoResetOnClose = true, MaxPoolSize = 30 }.ConnectionString;
            await using var source = NpgsqlDataSource.Create(through);
            await Eventually.TrueAsync(async () =>
            {
                try
                {
                    await using var probe = await source.OpenConnectionAsync();
                    return true;
                }
                catch (NpgsqlException) when (!bouncer.HasExited)
                {
                    return false;
                }
            }, "PgBouncer did not start");

            var user = await db.Account(100);
            await Task.WhenAll(Enumerable.Range(0, 30).Select(async i =>
            {
                await using var connection = await source.OpenConnectionAsync();
                await using var transaction = await connection.BeginTransactionAsync();
                await connection.Run("select set_config('credits.actor', $1, true)", $"actor {i}");
                if (i % 2 == 0)
                    await connection.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
                else
                    await connection.Run("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => $2)", user, $"key {i / 4}");
                await transaction.CommitAsync();
            }));
            // Fifteen rows and eight keys want 115; the balance covers twenty of them.
            Assert.Equal((0m, 20L), (await db.Balance(user), await db.Charges(user)));
            Assert.Equal(20, await db.Value<long>("select count(distinct actor) from credits.credit_ledger where user_id = $1 and kind = 'usage'", user));
            Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1 and kind = 'grant' and actor is not null", user));

            await using var empty = await server.CreateDatabaseAsync();
            await using var pooled = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(through) { Database = empty.Name }.ConnectionString);
            var results = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => new Migrator(pooled).MigrateAsync(cancellationToken: TestContext.Current.CancellationToken)));
            Assert.Single(results, r => r.Applied.Contains("migrations.0001_schema.sql"));
            Assert.True((await new Migrator(pooled).StatusAsync(TestContext.Current.CancellationToken)).UpToDate);
        }
        finally
        {
            bouncer.Kill();
            await bouncer.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    private static Process Start(string pgbouncer, DirectoryInfo folder, string config)
    {
        // Like PostgreSQL, it refuses to run as root.
        if (!OperatingSystem.IsWindows() && Environment.IsPrivilegedProcess)
        {
            File.SetUnixFileMode(folder.FullName, (UnixFileMode)0b111_101_101);
            File.SetUnixFileMode(config, (UnixFileMode)0b110_100_100);
            return Process.Start("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "--", pgbouncer, "-q", config]);
        }

        return Process.Start(pgbouncer, ["-q", config]);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
