using CreditDb.Migrations;

namespace CreditDb.Tests;

/// <summary>A small set of scripts of every folder, from which tests derive theirs.</summary>
internal sealed class ScriptSet
{
    public const string Schema = "migrations/0001_schema.sql";
    public const string Note = "migrations/0002_note.sql";
    public const string CountItems = "functions/count_items.sql";
    public const string Seed = "seed/0001_items.sql";

    private readonly Dictionary<string, string> _files = new()
    {
        [Schema] =
            """
            create schema if not exists credits; -- the journal may have made it
            create table credits.items (id int primary key);
            """,
        [Note] = "alter table credits.items add column note text not null default 'a;b'; /* a; /* nested */ comment */",
        [CountItems] =
            """
            create or replace function credits.count_items() returns bigint language plpgsql stable as $$
            begin
              return (select count(*) from credits.items);
            end
            $$;
            """,
        ["views/items.sql"] = "create or replace view credits.item_notes as select id, note from credits.items;",
        ["app/0001_bots.sql"] = "create table public.bots (id uuid primary key);",
        ["triggers/bots.sql"] =
            """
            create or replace function credits.bot_made() returns trigger language plpgsql as $$ begin return null; end $$;
            do $$
            begin
              if to_regclass('public.bots') is not null and not exists (select from pg_trigger where tgname = 'bot_made') then
                create trigger bot_made after insert on public.bots for each statement execute function credits.bot_made();
              end if;
            end
            $$;
            """,
        [Seed] = "insert into credits.items (id) select g from generate_series(1, 3) g;",
        ["roles/roles.sql"] =
            """
            do $$
            begin
              if not exists (select from pg_roles where rolname = '$role_prefix$_app') then
                create role $role_prefix$_app nologin;
              end if;
            end
            $$;
            grant usage on schema credits to $role_prefix$_app;
            """,
        ["rollback/migrations.0001_schema.sql"] = "drop schema credits cascade;",
        ["rollback/migrations.0002_note.sql"] = "drop view if exists credits.item_notes; alter table credits.items drop column note;",
        ["rollback/app.0001_bots.sql"] = "drop table public.bots;",
        ["rollback/seed.0001_items.sql"] =
            """
            do $$
            begin
              if current_setting('credits.force_rollback', true) is distinct from 'on' and exists (select from credits.items where id > 3) then
                raise exception using errcode = 'UC390', message = 'items have been added', hint = 'use --force';
              end if;
            end
            $$;
            delete from credits.items;
            """,
    };

    public ScriptSet With(string path, string text)
    {
        _files[path] = text;
        return this;
    }

    public ScriptSet Without(string path)
    {
        _files.Remove(path);
        return this;
    }

    public DbScripts Build() => new(_files.Select(f => new DbScript(f.Key, f.Value)));

    public void WriteTo(string folder)
    {
        foreach (var (path, text) in _files)
        {
            var file = Path.Combine(folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
        }
    }
}
