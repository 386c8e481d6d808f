using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Threading.Channels;

namespace CreditDb.Tests.Api;

/// <summary>A client of GET /api/usage/events that keeps what it gets.</summary>
internal sealed class EventStream : IAsyncDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly HttpResponseMessage _response;
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<Event> _events = Channel.CreateUnbounded<Event>();
    private readonly Task _reading;
    private bool _isDisposed;

    private EventStream(HttpResponseMessage response)
    {
        _response = response;
        _reading = ReadAsync();
    }

    public int Heartbeats { get; private set; }

    public int Retry { get; private set; }

    public string? LastId { get; private set; }

    /// <summary>When the host has ended the stream.</summary>
    public Task Ended => _reading;

    public static async Task<EventStream> OpenAsync(HttpClient client, string query = "", string? lastEventId = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/usage/events" + query);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
        if (lastEventId is not null)
            request.Headers.TryAddWithoutValidation("Last-Event-ID", lastEventId);
        var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        if (!response.IsSuccessStatusCode)
            Assert.Fail($"{(int)response.StatusCode}: {await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)}");
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        return new EventStream(response);
    }

    /// <summary>The next event, whatever it is.</summary>
    public async Task<Event> NextAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        return await _events.Reader.ReadAsync(limit.Token);
    }

    /// <summary>The next event, which must be of this type.</summary>
    public async Task<JsonElement> NextAsync(string type)
    {
        var next = await NextAsync();
        Assert.True(next.Type == type, $"{type} was to come, but it was {next.Type}: {next.Data}");
        return next.Data;
    }

    /// <summary>The events up to and with the first for which the condition holds.</summary>
    public async Task<List<Event>> UntilAsync(Func<Event, bool> condition)
    {
        var events = new List<Event>();
        do
            events.Add(await NextAsync());
        while (!condition(events[^1]));
        return events;
    }

    public Task<List<Event>> UntilBalanceAsync(decimal total) => UntilAsync(e => e.Type == "balance" && e.Data.Number("total") == total);

    /// <summary>Nothing came and nothing comes for a while.</summary>
    public async Task QuietAsync(int milliseconds = 600)
    {
        await Task.Delay(milliseconds, TestContext.Current.CancellationToken);
        Assert.False(_events.Reader.TryRead(out var unexpected), $"{unexpected?.Type}: {unexpected?.Data}");
    }

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        await _stop.CancelAsync();
        // Disposed of while it is read, the response of a host in memory fails at random.
        await _reading;
        _response.Dispose();
        _stop.Dispose();
    }

    private async Task ReadAsync()
    {
        try
        {
            using var reader = new StreamReader(await _response.Content.ReadAsStreamAsync(_stop.Token));
            var (id, type, data) = ("", "", "");
            while (await reader.ReadLineAsync(_stop.Token) is { } line)
            {
                if (line.Length == 0)
                {
                    if (type.Length > 0)
                    {
                        LastId = id.Length > 0 ? id : LastId;
                        _events.Writer.TryWrite(new Event(type, id, JsonDocument.Parse(data).RootElement));
                    }

                    (id, type, data) = ("", "", "");
                    continue;
                }

                var value = line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim();
                switch (line.Split(':')[0])
                {
                    case "":
                        Heartbeats++;
                        break;
                    case "id":
                        id = value;
                        break;
                    case "event":
                        type = value;
                        break;
                    case "data":
                        data = value;
                        break;
                    case "retry":
                        Retry = int.Parse(value, CultureInfo.InvariantCulture);
                        break;
                    default:
                        Assert.Fail("Not server-sent events: " + line);
                        break;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or HttpRequestException or ObjectDisposedException)
        {
            // Left, or cut off.
        }
        finally
        {
            _events.Writer.TryComplete();
        }
    }

    internal sealed record Event(string Type, string Id, JsonElement Data);
}
