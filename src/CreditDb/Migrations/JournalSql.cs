namespace CreditDb.Migrations;

/// <summary>
/// The statements that keep the journal. They are text with literals, so that the migrator runs the very statements
/// that a script for psql contains.
/// </summary>
internal static class JournalSql
{
    /// <summary>The key of the transaction-level advisory lock that every migration takes: "credits" in ASCII.</summary>
    public const string TakeLock = "do $$ begin perform pg_advisory_xact_lock(27991802496250995); end $$";

    /// <summary>Empties the list of re-applied scripts, so that the next migration re-applies them all.</summary>
    public const string ForgetApplied = "delete from credits.applied_objects";

    // The columns that DbUp creates, in its words; ours are added afterwards and nullable, as DbUp's inserts name its own alone.
    private const string CreateJournal =
        """
        create table credits.schemaversions (
          schemaversionsid serial not null,
          scriptname character varying(255) not null,
          applied timestamp without time zone not null,
          constraint "PK_schemaversions_Id" primary key (schemaversionsid)
        )
        """;

    private const string AddJournalColumns =
        """
        alter table credits.schemaversions
          add column if not exists checksum text,
          add column if not exists role_prefix text
        """;

    private const string CreateAppliedObjects =
        """
        create table credits.applied_objects (
          name text not null,
          checksum text not null,
          release text not null,
          applied_at timestamptz not null default now(),
          constraint applied_objects_pkey primary key (name)
        )
        """;

    /// <summary>Creates what is missing and records the checksums of scripts that DbUp applied.</summary>
    public static IEnumerable<string> Prepare(DatabaseState state, IEnumerable<DbScript> adopted, string rolePrefix)
    {
        if (!state.HasSchema)
            yield return "create schema if not exists credits";
        if (!state.HasJournal)
            yield return CreateJournal;
        if (!state.HasJournalColumns)
            yield return AddJournalColumns;
        if (!state.HasAppliedObjects)
            yield return CreateAppliedObjects;
        foreach (var script in adopted)
        {
            yield return
                $"""
                update credits.schemaversions set checksum = {Literal(script.Checksum)}, role_prefix = {Literal(rolePrefix)}
                where scriptname = {Literal(script.Name)} and checksum is null
                """;
        }
    }

    /// <summary>Journals a once-script.</summary>
    public static string Record(DbScript script, string rolePrefix) =>
        $"""
        insert into credits.schemaversions (scriptname, applied, checksum, role_prefix)
        values ({Literal(script.Name)}, now() at time zone 'utc', {Literal(script.Checksum)}, {Literal(rolePrefix)})
        """;

    /// <summary>Removes a once-script from the journal.</summary>
    public static string Forget(string name) => $"delete from credits.schemaversions where scriptname = {Literal(name)}";

    /// <summary>Records all re-applied scripts in place of what was recorded.</summary>
    public static IEnumerable<string> RecordApplied(IEnumerable<DbScript> scripts, string rolePrefix, string release)
    {
        var rows = scripts
            .Select(s => $"  ({Literal(s.Name)}, {Literal(s.AppliedChecksum(rolePrefix))}, {Literal(release)})")
            .ToList();
        yield return ForgetApplied;
        if (rows.Count > 0)
            yield return $"insert into credits.applied_objects (name, checksum, release) values\n{string.Join(",\n", rows)}";
    }

    /// <summary>Fails unless what is recorded is as it was in <paramref name="state"/>.</summary>
    public static string Guard(DatabaseState state) =>
        $"""
        do $$
        declare
          v_journal text;
          v_applied text;
        begin
          if to_regclass('credits.schemaversions') is not null then
            execute 'select string_agg(schemaversionsid || '' '' || scriptname || '' '' || coalesce(to_jsonb(s)->>''checksum'', ''''),
                                       chr(10) order by schemaversionsid)
                     from credits.schemaversions s' into v_journal;
          end if;
          if to_regclass('credits.applied_objects') is not null then
            execute 'select string_agg(name || '' '' || checksum, chr(10) order by name collate "C")
                     from credits.applied_objects' into v_applied;
          end if;
          if encode(sha256(convert_to(concat(v_journal, chr(10), chr(10), v_applied), 'UTF8')), 'hex') <> {Literal(state.Fingerprint)} then
            raise exception using
              errcode = 'UC391',
              message = 'The database has been migrated since this file was written.',
              hint = 'Write the file again.';
          end if;
        end
        $$
        """;

    private static string Literal(string value) => $"'{value.Replace("'", "''")}'";
}
