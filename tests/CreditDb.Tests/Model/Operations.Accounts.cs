namespace CreditDb.Tests.Model;

/// <summary>What happens to an account as a whole, and the work behind the scenes that nobody may notice.</summary>
public sealed partial class Operations
{
    private Operation? Suspend(CreditModel model) => model.Status == "active" || Chance(0.1) ? Status(model, "suspend_account", "suspended") : null;

    /// <summary>Soon after a suspension, so that most operations find an account that may spend.</summary>
    private Operation? Reactivate(CreditModel model) => model.Status == "suspended" || Chance(0.02) ? Status(model, "reactivate_account", "active") : null;

    /// <summary>In one sequence of a few: it is for good.</summary>
    private Operation? Close(CreditModel model) => Chance(0.25) ? Status(model, "close_account", "closed") : null;

    private static Operation Status(CreditModel model, string function, string status) =>
        new($"select credits.{function}({model.UserId.Sql()})", m => m.ChangeStatus(status)) { TouchesAll = true };

    private Operation? Erase(CreditModel model) => Chance(0.5) ? null
        : new($"select credits.erase_user_data({model.UserId.Sql()})", m => m.Erase()) { TouchesAll = true };

    private static Operation SettleDueWallets(CreditModel model) => new("select credits.settle_due_wallets(1000)", m => m.SettleDue()) { ChangesNothing = true };

    private Operation ArchiveLedger(CreditModel model)
    {
        var before = model.Clock.AddSeconds(-(Chance(0.5) ? _random.Next(100) : _random.Next(40 * 86400)));
        return new($"select credits.archive_ledger({before.Sql()})", _ => new Outcome()) { ChangesNothing = true };
    }

    /// <summary>Of this account alone: other sequences have clocks of their own.</summary>
    private static Operation RollUpUsage(CreditModel model)
    {
        var bytes = model.UserId.ToByteArray(bigEndian: true);
        for (var i = bytes.Length - 1; bytes[i]-- == 0; i--)
        {
        }
        return new($"select credits.roll_up_usage({new Guid(bytes, bigEndian: true).Sql()}, 1)", _ => new Outcome()) { ChangesNothing = true };
    }
}
