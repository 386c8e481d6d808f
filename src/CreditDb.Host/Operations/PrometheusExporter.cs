using System.Globalization;
using System.Text;
using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace CreditDb.Host.Operations;

/// <summary>Writes all metrics as Prometheus reads them (text format 0.0.4), whenever it asks.</summary>
[ExportModes(ExportModes.Pull)]
internal sealed class PrometheusExporter : BaseExporter<Metric>, IPullMetricExporter
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private const int LimitMilliseconds = 10_000;

    // One collection at a time: it runs on the asker's thread, and leaves its page here.
    private readonly Lock _collecting = new();
    private string _page = "";

    /// <summary>Set by the reader; calls <see cref="Export"/>.</summary>
    public Func<int, bool>? Collect { get; set; }

    public string Scrape()
    {
        lock (_collecting)
        {
            return Collect!(LimitMilliseconds) ? _page : throw new TimeoutException("The metrics could not be collected in time.");
        }
    }

    public override ExportResult Export(in Batch<Metric> batch)
    {
        // Two instruments may come to the same name: a name is introduced once, and has one type.
        var families = new SortedDictionary<string, (string Type, StringBuilder Text)>(StringComparer.Ordinal);
        foreach (var metric in batch)
        {
            if (TypeOf(metric.MetricType) is not { } type)
                continue;
            var name = NameOf(metric.Name, metric.Unit, type);
            if (!families.TryGetValue(name, out var family))
            {
                family = (type, new StringBuilder($"# HELP {name} {Escape(metric.Description)}\n# TYPE {name} {type}\n"));
                families.Add(name, family);
            }

            if (family.Type == type)
                WritePoints(family.Text, name, metric);
        }

        _page = string.Concat(families.Values.Select(f => f.Text));
        return ExportResult.Success;
    }

    internal static string NameOf(string metric, string unit, string type)
    {
        var name = Sanitise(metric);
        var suffix = unit switch
        {
            "" or ['{', ..] => "",
            "s" => "seconds",
            "ms" => "milliseconds",
            "By" => "bytes",
            "%" => "percent",
            "1" => type == "gauge" ? "ratio" : "",
            _ => Sanitise(unit),
        };
        var isTotal = type == "counter";
        if (isTotal && name.EndsWith("_total", StringComparison.Ordinal))
            name = name[..^"_total".Length];
        if (suffix.Length > 0 && !name.EndsWith("_" + suffix, StringComparison.Ordinal))
            name += "_" + suffix;
        return isTotal ? name + "_total" : name;
    }

    private static string? TypeOf(MetricType type) => type switch
    {
        MetricType.LongSum or MetricType.DoubleSum => "counter",
        MetricType.LongGauge or MetricType.DoubleGauge or MetricType.LongSumNonMonotonic or MetricType.DoubleSumNonMonotonic => "gauge",
        MetricType.Histogram => "histogram",
        _ => null,
    };

    private static void WritePoints(StringBuilder text, string name, Metric metric)
    {
        foreach (ref readonly var point in metric.GetMetricPoints())
        {
            var labels = LabelsOf(point.Tags);
            if (metric.MetricType != MetricType.Histogram)
            {
                Write(text, name, labels, metric.MetricType switch
                {
                    MetricType.LongSum or MetricType.LongSumNonMonotonic => point.GetSumLong(),
                    MetricType.DoubleSum or MetricType.DoubleSumNonMonotonic => point.GetSumDouble(),
                    MetricType.LongGauge => point.GetGaugeLastValueLong(),
                    _ => point.GetGaugeLastValueDouble(),
                });
                continue;
            }

            long sum = 0;
            foreach (var bucket in point.GetHistogramBuckets())
            {
                sum += bucket.BucketCount;
                Write(text, name + "_bucket", $"{labels}{(labels.Length > 0 ? "," : "")}le=\"{Number(bucket.ExplicitBound)}\"", sum);
            }

            Write(text, name + "_sum", labels, point.GetHistogramSum());
            Write(text, name + "_count", labels, point.GetHistogramCount());
        }
    }

    private static void Write(StringBuilder text, string name, string labels, double value)
    {
        text.Append(name);
        if (labels.Length > 0)
            text.Append('{').Append(labels).Append('}');
        text.Append(' ').Append(Number(value)).Append('\n');
    }

    private static string LabelsOf(ReadOnlyTagCollection tags)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (key, value) in tags)
        {
            var text = value is bool flag ? (flag ? "true" : "false") : Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
            var name = Sanitise(key).Replace(':', '_');
            labels[name] = labels.TryGetValue(name, out var other) ? $"{other};{text}" : text;
        }

        return string.Join(',', labels.Select(l => $"{l.Key}=\"{Escape(l.Value).Replace("\"", "\\\"", StringComparison.Ordinal)}\""));
    }

    private static string Sanitise(string name)
    {
        var clean = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '_' or ':' ? c : '_'));
        return clean.Length > 0 && char.IsAsciiDigit(clean[0]) ? "_" + clean : clean;
    }

    private static string Escape(string text) => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private static string Number(double value) => value switch
    {
        double.PositiveInfinity => "+Inf",
        double.NegativeInfinity => "-Inf",
        double.NaN => "NaN",
        _ => value.ToString("R", CultureInfo.InvariantCulture),
    };
}
