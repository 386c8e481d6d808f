using System.Text.Json.Nodes;

namespace CreditDb;

/// <summary>A purchase in a list.</summary>
public sealed record ListedPurchase
{
    /// <summary>Its id.</summary>
    public Guid PurchaseId { get; init; }

    /// <summary>The package.</summary>
    public string PackageId { get; init; } = "";

    /// <summary>What people call the package.</summary>
    public string PackageName { get; init; } = "";

    /// <summary>pending, paid, failed or refunded.</summary>
    public string Status { get; init; } = "";

    /// <summary>The credits that it brings.</summary>
    public decimal Credits { get; init; }

    /// <summary>The price in minor units of the currency.</summary>
    public long PriceMinor { get; init; }

    /// <summary>ISO 4217.</summary>
    public string Currency { get; init; } = "";

    /// <summary>What the package promised.</summary>
    public IReadOnlyList<string> Features { get; init; } = [];

    /// <summary>The payment provider.</summary>
    public string Provider { get; init; } = "";

    /// <summary>The provider's id of the payment; null until it is paid.</summary>
    public string? ProviderReference { get; init; }

    /// <summary>What was refunded of the price.</summary>
    public long RefundedMinor { get; init; }

    /// <summary>What was taken back of the credits.</summary>
    public decimal RefundedCredits { get; init; }

    /// <summary>Whether automatic top-up bought it.</summary>
    public bool IsTopUp { get; init; }

    /// <summary>The provider's id of the page on which it is paid.</summary>
    public string? CheckoutReference { get; init; }

    /// <summary>Where it can be paid; null unless it is pending.</summary>
    public string? CheckoutUrl { get; init; }

    /// <summary>Why the payment failed.</summary>
    public string? FailureReason { get; init; }

    /// <summary>When it was begun.</summary>
    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it was paid.</summary>
    public DateTimeOffset? CompletedAt { get; init; }

    /// <summary>What it was begun with.</summary>
    public JsonObject Metadata { get; init; } = [];
}

/// <summary>The automatic top-up of an account.</summary>
public sealed record TopUp : Outcome
{
    /// <summary>Whether the account switched it on.</summary>
    public bool IsOn { get; init; }

    /// <summary>off, on, in_progress, failed (until it is set again or something is bought), cap_reached, needs_payment_method, package_not_on_sale, currency_changed (the cap is in another one than the package) or account_suspended.</summary>
    public string Status { get; init; } = "";

    /// <summary>It buys when no more credits than that are left.</summary>
    public decimal? Threshold { get; init; }

    /// <summary>What it buys.</summary>
    public string? PackageId { get; init; }

    /// <summary>The package's price in minor units of the currency.</summary>
    public long? PriceMinor { get; init; }

    /// <summary>ISO 4217.</summary>
    public string? Currency { get; init; }

    /// <summary>The most that it may charge in a calendar month of the account's time zone.</summary>
    public long? MonthlyCapMinor { get; init; }

    /// <summary>What it has charged this month, or may still charge.</summary>
    public long SpentMinor { get; init; }

    /// <summary>Whether an earlier purchase saved a payment method that can be charged.</summary>
    public bool HasPaymentMethod { get; init; }

    /// <summary>The purchase under way.</summary>
    public Guid? PurchaseId { get; init; }

    /// <summary>Since when it is stopped.</summary>
    public DateTimeOffset? FailedAt { get; init; }

    /// <summary>Why.</summary>
    public string? FailureReason { get; init; }
}
