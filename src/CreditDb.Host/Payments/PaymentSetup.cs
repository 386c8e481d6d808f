using Microsoft.Extensions.Options;

namespace CreditDb.Host.Payments;

/// <summary>Chooses the payment provider.</summary>
internal static class PaymentSetup
{
    /// <param name="builder">The host.</param>
    /// <param name="isPrivate">The database is a private one: then the sandbox is what nobody has to configure.</param>
    public static void AddPayments(this WebApplicationBuilder builder, bool isPrivate)
    {
        var services = builder.Services;
        services.AddOptions<PaymentOptions>().BindConfiguration(PaymentOptions.Section, o => o.ErrorOnUnknownConfiguration = true)
            .ValidateDataAnnotations()
            .ValidateOnStart();
        services.AddSingleton<IValidateOptions<PaymentOptions>, PaymentOptions.Validator>();
        services.AddSingleton<PaymentDesk>();
        switch (ProviderName(builder.Configuration, isPrivate))
        {
            case StripeProvider.ProviderName:
                services.AddSingleton<IPaymentProvider, StripeProvider>();
                break;
            case SandboxProvider.ProviderName:
                services.AddSingleton<IPaymentProvider, SandboxProvider>();
                break;
            default:
                return;
        }

        services.AddSingleton<TopUpService>();
        services.AddHostedService(all => all.GetRequiredService<TopUpService>());
    }

    /// <summary>What the provider itself, or its user, calls.</summary>
    public static void MapPaymentProvider(this WebApplication app, bool isPrivate)
    {
        switch (ProviderName(app.Configuration, isPrivate))
        {
            case StripeProvider.ProviderName:
                app.MapStripeWebhook();
                break;
            case SandboxProvider.ProviderName:
                app.MapSandbox();
                break;
        }
    }

    private static string? ProviderName(IConfiguration configuration, bool isPrivate) =>
        configuration[$"{PaymentOptions.Section}:{nameof(PaymentOptions.Provider)}"] ?? (isPrivate ? SandboxProvider.ProviderName : null);
}
