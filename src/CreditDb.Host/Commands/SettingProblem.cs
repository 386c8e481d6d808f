using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Commands;

/// <summary>Says a wrong setting by the name that it has outside, where the framework names its class.</summary>
internal static partial class SettingProblem
{
    public static bool Is(Exception problem) => problem switch
    {
        AggregateException several => several.InnerExceptions.All(Is),
        OptionsValidationException or InvalidOperationException { Source: "Microsoft.Extensions.Configuration.Binder" } => true,
        _ => false,
    };

    public static string Text(Exception problem) => problem switch
    {
        AggregateException several => string.Join("\nerror: ", several.InnerExceptions.Select(Text)),
        OptionsValidationException wrong => string.Join("\nerror: ", wrong.Failures.Select(failure =>
            Annotation().Match(failure) is { Success: true } match ? $"{SectionOf(wrong.OptionsType)}:{match.Groups[1]}: {match.Groups[2]}" : failure)),
        InvalidOperationException when Unknown().Match(problem.Message) is { Success: true } match =>
            $"{SectionOf(typeof(SettingProblem).Assembly.GetType(match.Groups[1].Value))} has no setting {match.Groups[2]}.",
        IOException or FormatException when Address().IsMatch(problem.Message) => "Urls: " + problem.Message,
        _ => problem.Message,
    };

    private static string SectionOf(Type? options) =>
        options?.GetField("Section", BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static)?.GetRawConstantValue() as string ?? options?.Name ?? "A section";

    [GeneratedRegex(@"members: '([^']+)' with the error: '(.*)'\.$", RegexOptions.Singleline)]
    private static partial Regex Annotation();

    [GeneratedRegex("^(Failed to bind|Invalid url)")]
    private static partial Regex Address();

    [GeneratedRegex(@"not found on the instance of ([\w.]+): (.+)$")]
    private static partial Regex Unknown();
}
