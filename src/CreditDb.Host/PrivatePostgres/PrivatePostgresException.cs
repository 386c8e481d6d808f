namespace CreditDb.Host.PrivatePostgres;

/// <summary>The private server could not be found, made or started; the message is meant for the person at the terminal.</summary>
public sealed class PrivatePostgresException(string message, Exception? inner = null) : Exception(message, inner);
