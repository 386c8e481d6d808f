using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Work;

internal static class WorkerServiceCollectionExtensions
{
    /// <summary>Adds the worker, with the settings of the section Worker. It takes the CreditClient of the services once it starts.</summary>
    public static IServiceCollection AddWorker(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton<IValidateOptions<WorkerOptions>, Validation>();
        services.AddOptions<WorkerOptions>().Bind(configuration.GetSection(WorkerOptions.Section), o => o.ErrorOnUnknownConfiguration = true).ValidateOnStart();
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(provider => new WorkerMetrics(provider.GetRequiredService<IMeterFactory>().Create("CreditDb")));
        services.AddSingleton(provider => new Worker(
            provider.GetRequiredService<CreditClient>, Job.All, provider.GetRequiredService<IOptions<WorkerOptions>>().Value,
            provider.GetRequiredService<WorkerMetrics>(), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<Worker>>()));
        return services.AddHostedService(provider => provider.GetRequiredService<Worker>());
    }

    private sealed class Validation : IValidateOptions<WorkerOptions>
    {
        public ValidateOptionsResult Validate(string? name, WorkerOptions options)
        {
            var problems = options.Problems().ToList();
            return problems.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(problems);
        }
    }
}
