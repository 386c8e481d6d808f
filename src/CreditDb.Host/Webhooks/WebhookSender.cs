using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Webhooks;

/// <summary>Sends a signed event to an endpoint, once. Follows no redirect, keeps no cookie, and looks at nothing but the status and Retry-After.</summary>
internal sealed class WebhookSender : IDisposable
{
    private static readonly ProductInfoHeaderValue Product = new("CreditDb", typeof(WebhookSender).Assembly.GetName().Version!.ToString(2));

    private readonly HttpClient _http;
    private readonly IDataProtector _protector;
    private readonly WebhookOptions _options;
    private readonly TimeProvider _time;

    public WebhookSender(IDataProtectionProvider protection, IOptions<WebhookOptions> options, TimeProvider time)
    {
        _protector = protection.CreateProtector(WebhookSecret.Purpose);
        _options = options.Value;
        _time = time;
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            UseProxy = false,
            ActivityHeadersPropagator = null,
            ConnectCallback = (context, ct) => WebhookAddresses.ConnectAsync(context, _options, ct),
            PooledConnectionLifetime = TimeSpan.FromMinutes(2),
            MaxConnectionsPerServer = _options.Parallel,
            MaxResponseHeadersLength = 16,
            MaxResponseDrainSize = 16 * 1024,
            ResponseDrainTimeout = TimeSpan.FromSeconds(1),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>A new secret, as it is stored.</summary>
    public string NewSecret() => _protector.Protect(WebhookSecret.New());

    /// <summary>The secret of what is stored; null if it was protected by keys that this host does not have.</summary>
    public string? Reveal(string? stored)
    {
        try
        {
            return stored is null ? null : _protector.Unprotect(stored);
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    public async Task<WebhookAnswer> SendAsync(WebhookMessage message, CancellationToken ct)
    {
        var started = _time.GetTimestamp();
        using var ending = new CancellationTokenSource(_options.Timeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ending.Token, ct);
        WebhookAnswer Failed(string why) => new(null, why, null, _time.GetElapsedTime(started));
        if (message.Url is null)
            return Failed("the address is malformed");
        try
        {
            using var request = Request(message);
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
            var now = _time.GetUtcNow();
            var wait = response.Headers.RetryAfter is { } after ? after.Delta ?? after.Date - now : null;
            return new WebhookAnswer(
                (int)response.StatusCode,
                response.IsSuccessStatusCode ? null : $"answered {(int)response.StatusCode}",
                wait > TimeSpan.Zero ? wait : null,
                _time.GetElapsedTime(started));
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return Failed($"no answer within {_options.TimeoutSeconds} s");
        }
        catch (HttpRequestException e)
        {
            return Failed(e.InnerException is ForbiddenAddressException forbidden ? forbidden.Message : e.HttpRequestError switch
            {
                HttpRequestError.NameResolutionError => "the name of the host is not known",
                HttpRequestError.ConnectionError => "nothing answers at the address",
                HttpRequestError.SecureConnectionError => "no secure connection: " + (e.InnerException ?? e).Message,
                HttpRequestError.ResponseEnded => "the connection ended before an answer",
                _ => e.Message,
            });
        }
        catch (ForbiddenAddressException e)
        {
            return Failed(e.Message);
        }
        catch (CryptographicException)
        {
            return Failed("the secret was protected by keys that this host does not have; rotate it");
        }
    }

    public void Dispose() => _http.Dispose();

    private HttpRequestMessage Request(WebhookMessage message)
    {
        var body = message.Body();
        var request = new HttpRequestMessage(HttpMethod.Post, message.Url)
        {
            Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json", "utf-8") } },
        };
        request.Headers.UserAgent.Add(Product);
        request.Headers.Add(WebhookSecret.Header, WebhookSecret.Sign(message.Secrets.Select(_protector.Unprotect), _time.GetUtcNow(), body));
        request.Headers.Add("CreditDb-Event-Id", message.EventId.ToString());
        request.Headers.Add("CreditDb-Event-Type", message.Type);
        request.Headers.Add("CreditDb-Attempt", message.Attempt.ToString(CultureInfo.InvariantCulture));
        return request;
    }
}
