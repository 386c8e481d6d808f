using System.CommandLine;
using System.Globalization;
using CreditDb.Host.Access;

namespace CreditDb.Host.Commands;

/// <summary>The keys of the HTTP API, for whoever has the database: the first admin key of a configured one is made so.</summary>
internal static class KeysCommand
{
    private static readonly Option<string> Name = new("--name") { Description = "What people know the key by.", Required = true };

    private static readonly Option<string[]> Scopes = new("--scope")
    {
        Description = "service, admin, or user (with --user) and then spend or spend:ACTION; may be given several times.",
        Required = true,
        AllowMultipleArgumentsPerToken = true,
    };

    private static readonly Option<Guid?> User = new("--user") { Description = "The user of a key of the scope user." };

    private static readonly Option<DateTimeOffset?> Expires = new("--expires")
    {
        Description = "When the key ends by itself, as in 2030-01-31T12:00Z; never unless given.",
    };

    private static readonly Argument<string> KeyId = new("id") { Description = "The key's id: the 12 characters after cdb_." };

    public static Command Create()
    {
        var revoke = Verb.Create("revoke", "End a key for good, and the tokens that it minted. Hosts notice within seconds.", [], RevokeAsync, "keys");
        revoke.Add(KeyId);
        return new Command("keys", "List, create and revoke keys of the HTTP API.")
        {
            Verb.Create("list", "List the keys, newest first. Secrets are not kept, so none is shown.", [], ListAsync, "keys"),
            Verb.Create("create", "Make a key and show it, once.", [Name, Scopes, User, Expires], CreateAsync, "keys"),
            revoke,
        };
    }

    private static async Task<ExitCode> ListAsync(Verb verb, CancellationToken cancellationToken)
    {
        using var keys = KeysOf(verb);
        var all = await keys.ListAsync(cancellationToken);
        verb.Output.Table(
            ["id", "name", "scopes", "user", "created", "by", "expires", "revoked", "last used"],
            all.Select(k => new[]
            {
                k.KeyId, k.KeyName, string.Join(' ', k.Scopes), k.ForUser?.ToString(), Text(k.CreatedAt), k.CreatedBy, Text(k.ExpiresAt), Text(k.RevokedAt), Text(k.LastUsedAt),
            }));
        return verb.Finish(ExitCode.Ok, new { keys = all });
    }

    private static async Task<ExitCode> CreateAsync(Verb verb, CancellationToken cancellationToken)
    {
        using var keys = KeysOf(verb);
        var created = await keys.CreateAsync(
            verb.Arguments.GetValue(Name)!, verb.Arguments.GetValue(Scopes)!, verb.Arguments.GetValue(User), verb.Arguments.GetValue(Expires), Actor, cancellationToken);
        verb.Output.Line($"The key {created.KeyId} ({created.KeyName}) was made. It is not shown again:");
        verb.Output.Text(created.Key + Environment.NewLine);
        return verb.Finish(ExitCode.Ok, new { created.KeyId, created.KeyName, created.Scopes, created.ForUser, created.CreatedAt, created.ExpiresAt, created.Key });
    }

    private static async Task<ExitCode> RevokeAsync(Verb verb, CancellationToken cancellationToken)
    {
        using var keys = KeysOf(verb);
        var revoked = await keys.RevokeAsync(verb.Arguments.GetValue(KeyId)!, Actor, cancellationToken);
        verb.Output.Line($"The key {revoked.KeyId} ({revoked.KeyName}) is revoked.");
        return verb.Finish(ExitCode.Ok, new { revoked.KeyId, revoked.KeyName, revoked.RevokedAt });
    }

    private static string Actor => $"keys {Environment.UserName}";

    private static ApiKeys KeysOf(Verb verb) => new(new SqlCaller(verb.DataSource, null, null));

    private static string? Text(DateTimeOffset? moment) => moment?.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
}
