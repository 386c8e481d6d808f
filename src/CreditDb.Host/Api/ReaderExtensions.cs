using System.Data.Common;

namespace CreditDb.Host.Api;

internal static class ReaderExtensions
{
    /// <summary>GetFieldValue of a nullable number is null where the column is; of a text it would throw.</summary>
    public static string? GetTextOrNull(this DbDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);
}
