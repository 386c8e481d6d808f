namespace CreditDb.Host.Api;

/// <summary>A request that the host itself refuses. The field, if one is wrong, is named as in JSON: userId, items/3/quantity.</summary>
internal sealed class ProblemException(int status, string code, string detail, string? fieldName = null) : Exception(detail)
{
    public int Status => status;

    public string Code => code;

    public string? Field => fieldName;
}
