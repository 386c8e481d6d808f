using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Payments;

/// <summary>The configuration section Payments.</summary>
internal sealed class PaymentOptions
{
    public const string Section = "Payments";

    /// <summary>stripe, sandbox (nobody pays: for trying things out) or none. If it is not set: sandbox on the private PostgreSQL, none on a configured one.</summary>
    public string? Provider { get; set; }

    /// <summary>Where people come back to from paying. ?purchase=ID&amp;result=paid or cancelled is added.</summary>
    public string? ReturnUrl { get; set; }

    /// <summary>How often accounts are looked through for an automatic top-up that is due.</summary>
    [Range(1, 3600)]
    public int TopUpSeconds { get; set; } = 15;

    public StripeOptions Stripe { get; set; } = new();

    internal sealed class StripeOptions
    {
        /// <summary>The key that begins with sk_ or rk_. Never logged.</summary>
        public string? SecretKey { get; set; }

        /// <summary>The signing secrets of the webhook, whsec_…: while one is replaced, the old and the new one.</summary>
        public string[] WebhookSecrets { get; set; } = [];

        public string ApiBase { get; set; } = "https://api.stripe.com";
    }

    /// <summary>What is wrong is said by the setting's name, and no value of a secret is repeated.</summary>
    internal sealed class Validator : IValidateOptions<PaymentOptions>
    {
        public ValidateOptionsResult Validate(string? name, PaymentOptions options)
        {
            var wrong = new List<string>();
            if (options.Provider is not (null or "none" or SandboxProvider.ProviderName or StripeProvider.ProviderName))
                wrong.Add("Payments:Provider must be stripe, sandbox or none.");
            if (options.ReturnUrl is not null && !IsHttp(options.ReturnUrl))
                wrong.Add("Payments:ReturnUrl must be an http or https URL, such as https://app.example.com/credits.");
            if (options.Provider == StripeProvider.ProviderName)
            {
                if (options.ReturnUrl is null)
                    wrong.Add("Payments:ReturnUrl is needed for Stripe: the page of the application that people come back to from paying.");
                if (options.Stripe.SecretKey is not { Length: > 10 } key || !(key.StartsWith("sk_", StringComparison.Ordinal) || key.StartsWith("rk_", StringComparison.Ordinal)))
                    wrong.Add("Payments:Stripe:SecretKey must be a secret or restricted key of Stripe, which begins with sk_ or rk_.");
                if (options.Stripe.WebhookSecrets.Length == 0 || options.Stripe.WebhookSecrets.Any(s => s.Length < 10 || !s.StartsWith("whsec_", StringComparison.Ordinal)))
                    wrong.Add("Payments:Stripe:WebhookSecrets must have the signing secret of the webhook, which begins with whsec_, and may have several.");
                if (!IsHttp(options.Stripe.ApiBase))
                    wrong.Add("Payments:Stripe:ApiBase must be an http or https URL.");
            }

            return wrong.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(wrong);
        }

        private static bool IsHttp(string text) => Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https";
    }
}
