using CreditDb.Host.Access;
using CreditDb.Host.Api;
using CreditDb.Host.Live;
using CreditDb.Host.Operations;
using CreditDb.Host.Payments;
using CreditDb.Host.Webhooks;
using CreditDb.Host.Work;
using Microsoft.Extensions.Configuration.Json;
using Microsoft.Extensions.FileProviders;
using Npgsql;

namespace CreditDb.Host;

/// <summary>The web application: what it is made of, and in which order a request passes it.</summary>
internal static class HostApp
{
    /// <summary>Reads the settings: what the program brings, an appsettings.json where it is started, the environment, the command line.</summary>
    public static WebApplicationBuilder CreateBuilder(string[] settings)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = settings });
        builder.Configuration.Sources.Insert(0, new JsonConfigurationSource
        {
            FileProvider = new PhysicalFileProvider(AppContext.BaseDirectory),
            Path = "appsettings.json",
        });
        return builder;
    }

    /// <summary>Asks nothing of the database, which need not be started yet.</summary>
    public static WebApplication Build(WebApplicationBuilder builder, Database database)
    {
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 1024 * 1024;
        });

        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(_ => database.CreateDataSource());
        builder.Services.AddSingleton(services => new CreditClient(services.GetRequiredService<NpgsqlDataSource>()));
        builder.Services.AddSingleton(services => new SqlCaller(services.GetRequiredService<NpgsqlDataSource>(), null, null));
        builder.Services.AddSingleton(database);
        builder.Services.AddSingleton<DatabaseWatch>();
        builder.Services.AddHostedService(services => services.GetRequiredService<DatabaseWatch>());

        builder.Services.AddAccess();
        builder.Services.AddApi();
        builder.Services.AddLive();
        builder.AddPayments(database.IsPrivate);
        builder.Services.AddWebhooks();
        builder.Services.AddOperations();
        builder.Services.AddWorker(builder.Configuration);

        builder.Services.AddExceptionHandler<Problems>();
        builder.Services.AddProblemDetails(options => options.CustomizeProblemDetails = Problems.Complete);

        var app = builder.Build();
        app.UseExceptionHandler();
        app.UseStatusCodePages();
        app.Use(ApiSetup.RefuseOtherCharsets);
        app.UseRouting();
        app.UseCors();
        app.UseAuthentication();
        app.UseRateLimiter();
        app.UseAuthorization();

        app.MapOperations();
        app.MapPaymentProvider(database.IsPrivate);
        app.MapApiDocument();

        var api = app.MapGroup("/api").ShowsAtOnce().AddEndpointFilter(ApiSetup.RefuseUnreadable).AddEndpointFilter(IdempotencyKey.Check)
            .AddEndpointFilter(ApiSetup.RefuseNul);
        api.MapTokens();
        api.MapAccounts();
        api.MapCredits();
        api.MapReservations();
        api.MapPurchases();
        api.MapChat();
        api.MapUsage();
        api.MapEvents();
        api.MapNotifications();

        var admin = api.MapGroup("/admin").RequireAuthorization(AccessSetup.Administers);
        admin.MapKeys();
        admin.MapAdminAccounts();
        admin.MapAdminPrices();
        admin.MapPaymentAdministration();
        admin.MapWebhooks();
        admin.MapAlerts();
        return app;
    }
}
