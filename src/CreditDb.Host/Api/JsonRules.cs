using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace CreditDb.Host.Api;

/// <summary>How strictly requests are read: where money is charged, a typo must not mean one unit.</summary>
internal static class JsonRules
{
    public static void Apply(JsonSerializerOptions json)
    {
        json.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        json.AllowDuplicateProperties = false;
        json.NumberHandling = JsonNumberHandling.Strict;
        json.Converters.Add(new AmountConverter());
        json.Converters.Add(new FiniteConverter());
        json.Converters.Add(new IdConverter());
        json.Converters.Add(new TextConverter());
        json.Converters.Add(new JsonObjectConverter());
        json.Converters.Add(new RawJsonConverter());
        json.TypeInfoResolverChain.Insert(0, new DefaultJsonTypeInfoResolver { Modifiers = { RequireFields } });
    }

    /// <summary>A field is required if its parameter of the record has no default; null is not there, and neither is an empty id.</summary>
    public static bool IsRequired(JsonPropertyInfo field) =>
        field.AssociatedParameter is { HasDefaultValue: false } && field.DeclaringType.Assembly == typeof(JsonRules).Assembly;

    /// <summary>The engine's JSON as HTTP shows it: names in camelCase, values as they are.</summary>
    public static JsonNode? Camel(JsonNode? node) => node switch
    {
        JsonObject fields => new JsonObject(fields.Select(f => KeyValuePair.Create(Camel(f.Key), Camel(f.Value)))),
        JsonArray items => new JsonArray([.. items.Select(Camel)]),
        _ => node?.DeepClone(),
    };

    public static string Camel(string snake)
    {
        var words = snake.Split('_', StringSplitOptions.RemoveEmptyEntries);
        return words.Length == 0 ? snake : words[0] + string.Concat(words.Skip(1).Select(w => char.ToUpperInvariant(w[0]) + w[1..]));
    }

    private static void RequireFields(JsonTypeInfo type)
    {
        var required = type.Properties.Where(IsRequired).ToArray();
        if (required.Length == 0)
            return;
        type.OnDeserialized = value =>
        {
            if (required.FirstOrDefault(field => field.Get!(value) is not { } given || given.Equals(Guid.Empty)) is { } missing)
                throw new FieldException("is missing", "$." + missing.Name);
        };
    }

    /// <summary>Amounts have up to six decimals; System.Text.Json alone would round what has more digits than a decimal.</summary>
    private sealed class AmountConverter : JsonConverter<decimal>
    {
        public override decimal Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            if (reader.TokenType != JsonTokenType.Number)
                throw new FieldException("must be a number", null);
            if (Decimals(Encoding.ASCII.GetString(reader.HasValueSequence ? reader.ValueSequence.ToArray() : reader.ValueSpan)) > 6)
                throw new FieldException("must have at most 6 decimals", null);
            return reader.TryGetDecimal(out var value) ? value : throw new FieldException("must be at most 1000000000", null);
        }

        public override void Write(Utf8JsonWriter writer, decimal value, JsonSerializerOptions options) => writer.WriteNumberValue(value);

        private static long Decimals(string text)
        {
            var e = text.AsSpan().IndexOfAny('e', 'E');
            var mantissa = e < 0 ? text : text[..e];
            var digits = mantissa.Replace(".", "", StringComparison.Ordinal).TrimStart('-').TrimStart('0');
            var significant = digits.TrimEnd('0');
            if (significant.Length == 0)
                return 0;
            var exponent = 0L;
            if (e >= 0 && !long.TryParse(text.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent))
                return text[e + 1] == '-' ? long.MaxValue : 0;
            var point = mantissa.IndexOf('.', StringComparison.Ordinal);
            return (point < 0 ? 0 : mantissa.Length - point - 1) - (digits.Length - significant.Length) - exponent;
        }
    }

    private sealed class IdConverter : JsonConverter<Guid>
    {
        public override Guid Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.TokenType == JsonTokenType.String && reader.TryGetGuid(out var id) ? id : throw new FieldException("must be a UUID", null);

        public override void Write(Utf8JsonWriter writer, Guid value, JsonSerializerOptions options) => writer.WriteStringValue(value);
    }

    /// <summary>A text that PostgreSQL can keep.</summary>
    private sealed class TextConverter : JsonConverter<string>
    {
        public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var text = reader.GetString();
            Check(text!);
            return text;
        }

        public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);

        public static void Check(string text)
        {
            if (text.Contains('\0', StringComparison.Ordinal))
                throw new FieldException("must have no NUL character", null);
        }
    }

    private sealed class FiniteConverter : JsonConverter<double>
    {
        public override double Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out var value) && double.IsFinite(value)
                ? value
                : throw new FieldException("must be a finite number", null);

        public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
    }

    /// <summary>Metadata: an object that PostgreSQL can keep, and whose names are there once (System.Text.Json alone would find that out too late).</summary>
    private sealed class JsonObjectConverter : JsonConverter<JsonObject>
    {
        public override JsonObject Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            if (JsonNode.Parse(ref reader) is not JsonObject given)
                throw new FieldException("must be a JSON object", null);
            try
            {
                Check(given);
            }
            catch (ArgumentException)
            {
                throw new FieldException("has a name twice", null);
            }
            catch (InvalidOperationException)
            {
                throw new FieldException("must be Unicode", null);
            }

            return given;
        }

        public override void Write(Utf8JsonWriter writer, JsonObject value, JsonSerializerOptions options) => value.WriteTo(writer, options);

        private static void Check(JsonNode? node)
        {
            switch (node)
            {
                case JsonObject fields:
                    foreach (var (name, value) in fields)
                    {
                        TextConverter.Check(name);
                        Check(value);
                    }

                    break;
                case JsonArray items:
                    foreach (var item in items)
                        Check(item);
                    break;
                case JsonValue value when value.GetValueKind() == JsonValueKind.String:
                    TextConverter.Check(value.GetValue<string>());
                    break;
                case JsonValue value when value.GetValueKind() == JsonValueKind.Number && !IsStorable(value.ToJsonString()):
                    throw new FieldException("must have no number of more digits than PostgreSQL keeps", null);
            }
        }

        /// <summary>Up to 131,072 digits before the point and 16,383 after it, zeros too.</summary>
        private static bool IsStorable(string number)
        {
            var e = number.AsSpan().IndexOfAny('e', 'E');
            var exponent = 0L;
            if (e >= 0 && !long.TryParse(number.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent))
                return false;
            var mantissa = (e < 0 ? number : number[..e]).TrimStart('-');
            var point = mantissa.IndexOf('.', StringComparison.Ordinal);
            var (whole, fraction) = point < 0 ? (mantissa.Length, 0) : (point, mantissa.Length - point - 1);
            return exponent is > -20_000 and < 140_000 && whole + exponent <= 131_072 && fraction - exponent <= 16_383;
        }
    }

    private sealed class RawJsonConverter : JsonConverter<RawJson>
    {
        public override RawJson Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new NotSupportedException();

        public override void Write(Utf8JsonWriter writer, RawJson value, JsonSerializerOptions options) => writer.WriteRawValue(value.Text, skipInputValidation: true);
    }
}

/// <summary>A jsonb of the database as it is: of any depth, with numbers of any length.</summary>
internal readonly record struct RawJson(string Text);

/// <summary>A jsonb of the engine's own, which is read as it is and shown by <see cref="JsonRules.Camel(JsonNode?)"/>.</summary>
internal sealed class EngineJsonConverter : JsonConverter<JsonNode>
{
    public override JsonNode? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => JsonNode.Parse(ref reader);

    public override void Write(Utf8JsonWriter writer, JsonNode value, JsonSerializerOptions options) => JsonRules.Camel(value)!.WriteTo(writer);
}

/// <summary>What is wrong with a field. System.Text.Json adds the path where there is none.</summary>
internal sealed class FieldException : JsonException
{
    public FieldException(string problem, string? path)
        : base(problem, path, null, null) => Problem = problem;

    public string Problem { get; }
}
