#!/usr/bin/env bash
# Runs all tests on each PostgreSQL version that CreditDb supports. A version that is not installed is fetched with npm.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet build CreditDb.sln
failed=0
for version in ${*:-15 16 17 18}; do
  echo "PostgreSQL $version"
  CREDITDB_POSTGRES_VERSION=$version dotnet test CreditDb.sln --no-build || failed=1
done
exit $failed
