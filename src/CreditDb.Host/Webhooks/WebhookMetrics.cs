using System.Diagnostics.Metrics;

namespace CreditDb.Host.Webhooks;

/// <summary>What a monitor sees of the deliveries.</summary>
internal sealed class WebhookMetrics
{
    private readonly Counter<long> _deliveries;
    private volatile IReadOnlyList<ListedEndpoint> _endpoints = [];

    public WebhookMetrics(IMeterFactory meters)
    {
        var meter = meters.Create("CreditDb");
        _deliveries = meter.CreateCounter<long>("creditdb.webhooks.deliveries", "{attempt}", "Attempts to deliver an event, by endpoint and outcome (delivered, failed, dead)");
        meter.CreateObservableGauge("creditdb.webhooks.pending", () => Of(e => e.Pending), "{event}", "Events that an endpoint is still to be sent");
        meter.CreateObservableGauge("creditdb.webhooks.dead", () => Of(e => e.Dead), "{event}", "Events that could not be delivered");
        meter.CreateObservableGauge("creditdb.webhooks.lag", () => Of(e => e.LagSeconds), "s", "How long the oldest event waits that an endpoint is still to be sent");
    }

    public void Attempted(Guid endpointId, string outcome) => _deliveries.Add(1, new("endpoint", endpointId), new("outcome", outcome));

    public void Show(IReadOnlyList<ListedEndpoint> endpoints) => _endpoints = endpoints;

    private IEnumerable<Measurement<T>> Of<T>(Func<ListedEndpoint, T> value)
        where T : struct =>
        _endpoints.Select(e => new Measurement<T>(value(e), new KeyValuePair<string, object?>("endpoint", e.EndpointId)));
}
