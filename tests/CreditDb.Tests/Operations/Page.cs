using System.Globalization;
using System.Text.RegularExpressions;

namespace CreditDb.Tests.Operations;

/// <summary>A scraped page, read as strictly as Prometheus reads it.</summary>
internal sealed partial class Page
{
    private readonly Dictionary<string, double> _values = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _types = new(StringComparer.Ordinal);

    public Page(string text)
    {
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        foreach (var line in text.Split('\n')[..^1])
        {
            if (TypeLine().Match(line) is { Success: true } type)
            {
                Assert.True(_types.TryAdd(type.Groups[1].Value, type.Groups[2].Value), $"twice: {line}");
                continue;
            }

            if (HelpLine().IsMatch(line))
                continue;
            var sample = SampleLine().Match(line);
            Assert.True(sample.Success, $"not a sample: {line}");
            var value = sample.Groups[3].Value is "+Inf" ? double.PositiveInfinity : double.Parse(sample.Groups[3].Value, CultureInfo.InvariantCulture);
            Assert.True(_values.TryAdd(sample.Groups[1].Value + sample.Groups[2].Value, value), $"twice: {line}");
            var family = sample.Groups[1].Value;
            Assert.True(_types.ContainsKey(family) || _types.GetValueOrDefault(Suffix().Replace(family, "")) == "histogram", $"without a type: {line}");
            Names.Add(family);
        }
    }

    public HashSet<string> Names { get; } = [];

    public IEnumerable<string> Series => _values.Keys;

    public double this[string series] => _values.TryGetValue(series, out var value) ? value : 0;

    public string TypeOf(string name) => _types[name];

    [GeneratedRegex("""^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$""")]
    private static partial Regex TypeLine();

    [GeneratedRegex("""^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .*$""")]
    private static partial Regex HelpLine();

    [GeneratedRegex("""^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})? (\+Inf|-?[0-9][0-9.E+-]*|NaN)$""")]
    private static partial Regex SampleLine();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex Suffix();
}
