using CreditDb;
using Npgsql;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds CreditDb to an application.</summary>
public static class CreditDbServiceCollectionExtensions
{
    /// <summary>Adds a <see cref="CreditClient"/> with connections of its own, closed with the container; a connection string or a postgresql:// URL says where. Errors carry the engine's details.</summary>
    public static IServiceCollection AddCreditDb(this IServiceCollection services, string connectionString)
    {
        services.AddSingleton(_ => new CreditConnections(connectionString));
        return services.AddSingleton(provider => new CreditClient(provider.GetRequiredService<CreditConnections>().Source));
    }

    /// <summary>Owns the data source, beside one that the application may have.</summary>
    private sealed class CreditConnections(string connectionString) : IAsyncDisposable, IDisposable
    {
        public NpgsqlDataSource Source { get; } = EngineConnections.Create(ConnectionText.Parse(connectionString));

        public ValueTask DisposeAsync() => Source.DisposeAsync();

        public void Dispose() => Source.Dispose();
    }
}
