using Npgsql;

namespace CreditDb.Migrations;

internal sealed record JournalEntry(int Id, string Name, DateTime AppliedAt, string? Checksum, string? RolePrefix);

internal sealed record AppliedObject(string Name, string Checksum, string Release, DateTime AppliedAt);

/// <summary>What a database says about its migrations. Reading it writes nothing and needs no table to exist.</summary>
internal sealed record DatabaseState(
    bool HasSchema,
    bool HasJournal,
    bool HasJournalColumns,
    bool HasAppliedObjects,
    IReadOnlyList<JournalEntry> Journal,
    IReadOnlyList<AppliedObject> Applied)
{
    // to_jsonb: the columns checksum and role_prefix are ours, and missing where only DbUp has been at work.
    private const string ReadJournal =
        """
        select schemaversionsid, scriptname, applied, to_jsonb(s)->>'checksum', to_jsonb(s)->>'role_prefix'
        from credits.schemaversions s
        order by schemaversionsid
        """;

    /// <summary>Each journaled script once, by its first row: DbUp, which takes no lock, can leave two.</summary>
    public IReadOnlyList<JournalEntry> Scripts { get; } =
        [.. Journal.Where(e => DbScripts.IsOnceName(e.Name)).GroupBy(e => e.Name).Select(g => g.First()).OrderBy(e => e.Id)];

    public string? RolePrefix => Journal.Select(e => e.RolePrefix).FirstOrDefault(p => p is not null);

    public Version? Release => Applied.Max(a => Version.TryParse(a.Release, out var v) ? v : null);

    /// <summary>Changes whenever what is recorded does; <see cref="JournalSql.Guard"/> computes the same in the database.</summary>
    public string Fingerprint => DbScript.Hash(
        string.Join('\n', Journal.Select(e => $"{e.Id} {e.Name} {e.Checksum}"))
        + "\n\n"
        + string.Join('\n', Applied.OrderBy(a => a.Name, StringComparer.Ordinal).Select(a => $"{a.Name} {a.Checksum}")));

    public static async Task<DatabaseState> ReadAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        const string exists =
            """
            select to_regnamespace('credits') is not null,
                   to_regclass('credits.schemaversions') is not null,
                   (select count(*) = 2 from pg_attribute
                    where attrelid = to_regclass('credits.schemaversions')
                      and attname in ('checksum', 'role_prefix') and not attisdropped),
                   to_regclass('credits.applied_objects') is not null
            """;
        var tables = (await QueryAsync(connection, exists,
            r => (r.GetBoolean(0), r.GetBoolean(1), r.GetBoolean(2), r.GetBoolean(3)), cancellationToken))[0];
        var (hasSchema, hasJournal, hasColumns, hasApplied) = tables;

        IReadOnlyList<JournalEntry> journal = !hasJournal ? [] : await QueryAsync(connection, ReadJournal,
            r => new JournalEntry(r.GetInt32(0), r.GetString(1), DateTime.SpecifyKind(r.GetDateTime(2), DateTimeKind.Utc), Text(r, 3), Text(r, 4)), cancellationToken);

        IReadOnlyList<AppliedObject> applied = !hasApplied ? [] : await QueryAsync(connection,
            "select name, checksum, release, applied_at from credits.applied_objects",
            r => new AppliedObject(r.GetString(0), r.GetString(1), r.GetString(2), r.GetDateTime(3)), cancellationToken);

        return new DatabaseState(hasSchema, hasJournal, hasColumns, hasApplied, journal, applied);
    }

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    private static async Task<List<T>> QueryAsync<T>(
        NpgsqlConnection connection, string sql, Func<NpgsqlDataReader, T> read, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var rows = new List<T>();
        while (await reader.ReadAsync(cancellationToken))
            rows.Add(read(reader));
        return rows;
    }
}
