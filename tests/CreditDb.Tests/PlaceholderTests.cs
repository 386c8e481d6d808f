namespace CreditDb.Tests;

public sealed class P { [Xunit.Fact] public void A() { } }
