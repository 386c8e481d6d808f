<#
.SYNOPSIS
Migrates a CreditDb database, shows its state, or rolls it back.

.DESCRIPTION
A thin way to the verbs migrate, status and rollback of CreditDb.Host. It runs the published program beside this script if
there is one, else the project of this repository with the .NET SDK. The connection string is handed over in an environment
variable, so that no list of processes shows it. Works in Windows PowerShell 5.1 and in PowerShell 7.

The exit code is the program's:
  0 done or up to date, 1 unexpected error, 2 wrong usage, 3 scripts are pending (-Status), 4 a script has been edited,
  5 the database is newer, 6 a script failed, 7 rollback refused, 9 another role prefix, 10 a lock could not be had.

.PARAMETER ConnectionString
The database. Without it: the environment variable ConnectionStrings__CreditDb, then appsettings.json.

.PARAMETER DryRun
Say what would be run (with -RollbackTo: undone) and change nothing.

.PARAMETER Script
Write what would be run as one SQL file for psql -v ON_ERROR_STOP=1 -f, and change nothing.

.PARAMETER Status
Show every script and whether it is applied.

.PARAMETER RollbackTo
Undo the scripts applied after this one, for example migrations.0001_schema.sql; none undoes all.

.PARAMETER Force
Let a rollback lose data.

.PARAMETER WithoutApp
Leave out the application's reference tables.

.PARAMETER RolePrefix
The prefix of the database roles; creditdb unless given.

.PARAMETER Json
Write one JSON document to standard output.

.EXAMPLE
./run-migrations.ps1 -ConnectionString 'Host=localhost;Database=app;Username=postgres;Password=...'

Migrates the database.

.EXAMPLE
./run-migrations.ps1 -DryRun

Says what would be run in the database of ConnectionStrings__CreditDb.

.EXAMPLE
./run-migrations.ps1 -Script upgrade.sql

Writes upgrade.sql for a DBA to read and to apply with psql.

.EXAMPLE
./run-migrations.ps1 -Status; $LASTEXITCODE

Shows the state; 0 is up to date, 3 is pending.

.EXAMPLE
./run-migrations.ps1 -RollbackTo migrations.0003_reservations.sql

Undoes what was applied after 0003.
#>
[CmdletBinding(DefaultParameterSetName = 'Migrate')]
param(
    [string] $ConnectionString,

    [Parameter(ParameterSetName = 'Migrate')]
    [Parameter(ParameterSetName = 'Rollback')]
    [switch] $DryRun,

    [Parameter(ParameterSetName = 'Migrate')]
    [string] $Script,

    [Parameter(ParameterSetName = 'Status', Mandatory = $true)]
    [switch] $Status,

    [Parameter(ParameterSetName = 'Rollback', Mandatory = $true)]
    [string] $RollbackTo,

    [Parameter(ParameterSetName = 'Rollback')]
    [switch] $Force,

    [Parameter(ParameterSetName = 'Migrate')]
    [Parameter(ParameterSetName = 'Status')]
    [switch] $WithoutApp,

    [string] $RolePrefix,

    [switch] $Json
)

$verb = @('migrate')
if ($Status) { $verb = @('status') }
if ($RollbackTo) { $verb = @('rollback', '--to', $RollbackTo) }

if ($DryRun) { $verb += '--dry-run' }
if ($Script) { $verb += @('--script', $Script) }
if ($Force) { $verb += '--force' }
if ($WithoutApp) { $verb += '--without-app' }
if ($RolePrefix) { $verb += @('--role-prefix', $RolePrefix) }
if ($Json) { $verb += '--json' }

$published = @('CreditDb.Host.exe', 'CreditDb.Host') |
    ForEach-Object { Join-Path $PSScriptRoot $_ } |
    Where-Object { Test-Path -LiteralPath $_ -PathType Leaf } |
    Select-Object -First 1
if ($published) {
    $program = $published
    $arguments = $verb
}
else {
    $program = 'dotnet'
    $project = Join-Path (Join-Path $PSScriptRoot 'src') 'CreditDb.Host'
    $arguments = @('run', '--project', $project, '--configuration', 'Release', '--verbosity', 'quiet', '--') + $verb
}

$exitCode = 1
$saved = $env:ConnectionStrings__CreditDb
try {
    if ($ConnectionString) { $env:ConnectionStrings__CreditDb = $ConnectionString }

    & $program $arguments
    $exitCode = $LASTEXITCODE
}
finally {
    if ($null -ne $saved) {
        $env:ConnectionStrings__CreditDb = $saved
    }
    else {
        Remove-Item -Path Env:ConnectionStrings__CreditDb -ErrorAction SilentlyContinue
    }
}

exit $exitCode
