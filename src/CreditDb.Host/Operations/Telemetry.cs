using System.Diagnostics;
using Microsoft.Extensions.Options;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace CreditDb.Host.Operations;

/// <summary>Metrics for /metrics, and metrics and traces by OTLP where the standard setting OTEL_EXPORTER_OTLP_ENDPOINT names a collector.</summary>
internal sealed class Telemetry : IDisposable
{
    private const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";

    private readonly MeterProvider _meters;
    private readonly TracerProvider? _traces;

    public Telemetry(IConfiguration configuration, PrometheusExporter page)
    {
        var isSent = configuration[Endpoint] is { Length: > 0 } endpoint && IsUrl(endpoint);
        var meters = Sdk.CreateMeterProviderBuilder()
            .ConfigureServices(services => services.AddSingleton(configuration))
            .ConfigureResource(Name)
            .AddMeter(Measures.MeterName, Measures.MeterName + ".*", "Npgsql", "Microsoft.AspNetCore.Hosting", "System.Runtime")
            .AddReader(new BaseExportingMetricReader(page));
        _meters = (isSent ? meters.AddOtlpExporter() : meters).Build();
        if (!isSent)
            return;
        _traces = Sdk.CreateTracerProviderBuilder()
            .ConfigureServices(services => services.AddSingleton(configuration))
            .ConfigureResource(Name)
            .AddSource(Measures.MeterName, "Npgsql", "Microsoft.AspNetCore")
            .AddProcessor(new Discretion())
            .AddOtlpExporter()
            .Build();

        void Name(ResourceBuilder resource) => resource.AddService(
            configuration["OTEL_SERVICE_NAME"] is { Length: > 0 } name ? name : "creditdb",
            serviceVersion: typeof(Telemetry).Assembly.GetName().Version!.ToString(3));
    }

    /// <summary>Sends what is left.</summary>
    public void Dispose()
    {
        _traces?.Dispose();
        _meters.Dispose();
    }

    private static bool IsUrl(string endpoint) => Uri.TryCreate(endpoint, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
        ? true
        : throw new OptionsValidationException(Endpoint, typeof(Telemetry), [$"{Endpoint} must be a URL such as http://127.0.0.1:4317."]);

    /// <summary>Keeps out what is nobody's business, and probes.</summary>
    private sealed class Discretion : BaseProcessor<Activity>
    {
        public override void OnEnd(Activity data)
        {
            // It may hold ids of people, and what else a caller put there.
            data.SetTag("url.query", null);
            if (data.Kind == ActivityKind.Server && data.GetTagItem("url.path") is string path
                && (path.StartsWith("/health/", StringComparison.Ordinal) || path == "/metrics"))
            {
                data.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
            }
        }
    }
}
