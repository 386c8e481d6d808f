using System.ComponentModel;
using System.Runtime.InteropServices;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>PostgreSQL refuses to run as root, so for root its programs run as nobody.</summary>
internal static class ServerUser
{
    private const int Nobody = 65534;

    public static bool IsAnother => !OperatingSystem.IsWindows() && Environment.IsPrivilegedProcess;

    public static IReadOnlyList<string> Command(params IReadOnlyList<string> command) => IsAnother
        ? ["setpriv", $"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups", "--reset-env", "--", .. command]
        : command;

    /// <summary>Gives a file or folder to the user the server runs as, and to no one else.</summary>
    public static void Own(string path)
    {
        if (OperatingSystem.IsWindows())
            return;

        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite
            | (Directory.Exists(path) ? UnixFileMode.UserExecute : UnixFileMode.None));
        if (IsAnother && Chown(path, Nobody, Nobody) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"{path} cannot be given to the user nobody.");
    }

    [DllImport("libc", EntryPoint = "chown", SetLastError = true)]
    private static extern int Chown([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int user, int group);
}
