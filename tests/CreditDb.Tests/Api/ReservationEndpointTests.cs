namespace CreditDb.Tests.Api;

/// <summary>Holds over HTTP.</summary>
public sealed class ReservationEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task A_hold_is_made_once_extended_and_charged_for_what_was_used()
    {
        var user = await host.Database.Account(10);
        var held = await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "script_generation", quantity = 4, ttlSeconds = 60 }, "h").JsonAsync();
        var id = held.Text("reservationId");
        Assert.Equal(id, (await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "script_generation", quantity = 4, ttlSeconds = 60 }, "h").JsonAsync()).Text("reservationId"));
        Assert.Equal((4, 6), (held.Number("creditsHeld"), await host.Database.Balance(user)));
        var extended = await host.Service.Post($"/api/credits/reservations/{id}/extend", new { userId = user, ttlSeconds = 3600 }).JsonAsync();
        Assert.True(extended.GetProperty("expiresAt").GetDateTimeOffset() > held.GetProperty("expiresAt").GetDateTimeOffset().AddMinutes(50));

        var charged = await host.Service.Post($"/api/credits/reservations/{id}/commit", new { userId = user, quantity = 3, metadata = new { pages = 3 } }).JsonAsync();
        Assert.Equal((3, 1, 7), (charged.Number("creditsDeducted"), charged.Number("creditsReleased"), charged.Number("balanceAfter")));
        Assert.True((await host.Service.Post($"/api/credits/reservations/{id}/commit", new { userId = user, quantity = 3 }).JsonAsync()).Flag("replayed"));
        var settled = await host.Service.Post($"/api/credits/reservations/{id}/commit", new { userId = user, quantity = 2 }).ProblemAsync(409, "reservation_settled");
        Assert.Equal("committed", settled.Text("state"));
        await host.Service.Post($"/api/credits/reservations/{id}/release", new { userId = user }).ProblemAsync(409, "reservation_settled");
        await host.Service.Post($"/api/credits/reservations/{id}/extend", new { userId = user }).ProblemAsync(409, "reservation_settled");
        Assert.Equal(7, await host.Database.Balance(user));
    }

    [Fact]
    public async Task A_released_hold_gives_back_all_and_only_to_its_own_user()
    {
        var (user, other) = (await host.Database.Account(10), await host.Database.Account(10));
        var id = (await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "script_generation" }).JsonAsync()).Text("reservationId");
        await host.Service.Post($"/api/credits/reservations/{id}/release", new { userId = other }).ProblemAsync(404, "not_found");
        await host.Service.Post($"/api/credits/reservations/{id}/release", new { }).ProblemAsync(400, "invalid_argument");
        Assert.Equal(1, (await host.Service.Post($"/api/credits/reservations/{id}/release", new { userId = user, reason = "failed" }).JsonAsync()).Number("creditsReleased"));
        Assert.True((await host.Service.Post($"/api/credits/reservations/{id}/release", new { userId = user }).JsonAsync()).Flag("replayed"));
        Assert.Equal((10, 10), (await host.Database.Balance(user), await host.Database.Balance(other)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(int.MaxValue)]
    public async Task A_hold_lasts_up_to_30_days(int seconds)
    {
        var user = await host.Database.Account(10);
        var problem = await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "send_email", ttlSeconds = seconds }).ProblemAsync(400, "invalid_argument");
        Assert.Equal("#/ttlSeconds", problem.GetProperty("errors")[0].Text("pointer"));
        Assert.Equal(10, await host.Database.Balance(user));
    }

    [Fact]
    public async Task A_hold_or_its_surplus_is_declined_when_the_credits_do_not_reach()
    {
        var user = await host.Database.Account(2);
        await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "script_generation", quantity = 3 }).ProblemAsync(402, "insufficient_credits");
        var id = (await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "script_generation", quantity = 2 }).JsonAsync()).Text("reservationId");
        await host.Service.Post($"/api/credits/reservations/{id}/commit", new { userId = user, quantity = 3 }).ProblemAsync(402, "insufficient_credits");
        Assert.Equal(2, (await host.Service.Post($"/api/credits/reservations/{id}/commit", new { userId = user }).JsonAsync()).Number("creditsDeducted"));
    }
}
