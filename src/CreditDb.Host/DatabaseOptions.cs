using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace CreditDb.Host;

/// <summary>The configuration section Database.</summary>
internal sealed class DatabaseOptions
{
    public const string Section = "Database";

    /// <summary>Whether the host migrates its database when it starts. If not, it only looks whether the database is current, and its login need be no more than a member of creditdb_admin.</summary>
    public bool Migrate { get; set; } = true;

    /// <summary>The prefix of the database's roles, the same for the life of a database.</summary>
    [RegularExpression("^[a-z][a-z0-9_]{0,40}$", ErrorMessage = "RolePrefix must be a lowercase letter, then up to 40 lowercase letters, digits and underscores.")]
    public string RolePrefix { get; set; } = "creditdb";

    /// <summary>Leaves out the reference tables of the application (bots, email_templates, calls), as migrate --without-app does.</summary>
    public bool WithoutApp { get; set; }

    /// <summary>The section, which is needed before there are services.</summary>
    /// <exception cref="OptionsValidationException">A setting is wrong; the message names it.</exception>
    public static DatabaseOptions From(IConfiguration configuration)
    {
        var options = new DatabaseOptions();
        configuration.GetSection(Section).Bind(options, binder => binder.ErrorOnUnknownConfiguration = true);
        var wrong = new List<ValidationResult>();
        return Validator.TryValidateObject(options, new ValidationContext(options), wrong, validateAllProperties: true)
            ? options
            : throw new OptionsValidationException(Section, typeof(DatabaseOptions), wrong.Select(w => $"{Section}: {w.ErrorMessage}"));
    }
}
