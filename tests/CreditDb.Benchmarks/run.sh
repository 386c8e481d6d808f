#!/usr/bin/env bash
# How much of PostgreSQL's own speed a charge keeps: deduct_credits_for_action beside the two writes that no design can avoid (one bare
# balance row updated, one bare history row inserted), interleaved on the same server, with fsync on. Needs psql and pgbench.
#   tests/CreditDb.Benchmarks/run.sh [postgresql://superuser@host/database]      without a URL: on a private server of its own
set -euo pipefail
cd "$(dirname "$0")"
repository=../..
accounts=${ACCOUNTS:-10000} clients=${CLIENTS:-16} rounds=${ROUNDS:-5} seconds=${SECONDS_PER_RUN:-5} configuration=${CONFIGURATION:-Release}

host() { dotnet run --project "$repository/src/CreditDb.Host" -c $configuration --verbosity quiet -- "$@"; }
workspace=$(mktemp -d)
chmod 755 "$workspace"
server=
# dotnet run passes the signal on to the host, which stops its server.
trap '[ -z "$server" ] || { kill -TERM $server 2>/dev/null; wait $server 2>/dev/null || true; }; rm -rf "$workspace"' EXIT

if [ $# -gt 0 ]; then
  server_url=$1
else
  dotnet build "$repository/src/CreditDb.Host" -c $configuration --verbosity quiet >/dev/null
  CREDITDB_DATA=$workspace/data CREDITDB_PORT=0 dotnet "$repository/src/CreditDb.Host/bin/$configuration/net10.0/CreditDb.Host.dll" >"$workspace/host.log" 2>&1 &
  server=$!
  until grep -q '^  Stop' "$workspace/host.log"; do
    kill -0 $server 2>/dev/null || { cat "$workspace/host.log" >&2; exit 1; }
    sleep 0.2
  done
  server_url=$(sed -n 's/^  URL *//p' "$workspace/host.log")
fi

name=creditdb_benchmark_$$
psql -Xqw -d "$server_url" -c "create database $name"
url=$(sed -E "s#(://[^/]*)(/[^?]*)?#\1/$name#" <<<"$server_url")
connection=$(sed -E 's#^[a-z]+://(([^:@]*)(:([^@]*))?@)?([^:/]*)(:([0-9]+))?/(.*)$#Host=\5;Port=\7;Username=\2;Password=\4;Database=\8#; s/Port=;//' <<<"$url")
host migrate --connection "$connection" >/dev/null

psql -Xqw -v ON_ERROR_STOP=1 -v accounts="$accounts" -d "$url" >/dev/null <<'SQL'
create function public.account(n int) returns uuid language sql immutable as $$ select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
create table public.floor_balances (id uuid primary key, entry_no bigint not null default 0, balance numeric(20,6) not null) with (fillfactor = 70);
create table public.floor_history (id uuid, entry_no bigint, amount numeric(20,6) not null, balance numeric(20,6) not null,
  created_at timestamptz not null default now(), primary key (id, entry_no));
insert into public.floor_balances (id, balance) select public.account(n), 1000000 from generate_series(1, :accounts) n;
select count(credits.open_account(public.account(n), 'paid')) from generate_series(1, :accounts) n;
select count(credits.add_purchased_credits(public.account(n), 1000000)) from generate_series(1, :accounts) n;
-- Opens every wallet's grant, as any account has that was charged before.
select count(credits.deduct_credits_for_action(public.account(n), 'weekly_report')) from generate_series(1, :accounts) n;
SQL
psql -Xqw -d "$url" -c 'vacuum analyze'

account="('00000000-0000-4000-8000-' || lpad(to_hex(:n::int), 12, '0'))::uuid"
echo "\\set n random(1, $accounts)
with b as (update public.floor_balances set balance = balance - 1, entry_no = entry_no + 1 where id = $account and balance >= 1 returning *)
insert into public.floor_history (id, entry_no, amount, balance) select id, entry_no, -1, balance from b;" >"$workspace/floor.sql"
echo "\\set n random(1, $accounts)
select credits.deduct_credits_for_action($account, 'weekly_report');" >"$workspace/charge.sql"
echo "\\set n random(1, $accounts)
select credits.deduct_credits_for_action($account, 'weekly_report', p_idempotency_key => gen_random_uuid()::text);" >"$workspace/keyed.sql"

for round in $(seq "$rounds"); do
  for contestant in floor charge keyed; do
    tps=$(pgbench -n -M prepared -c "$clients" -j 2 -T "$seconds" -f "$workspace/$contestant.sql" "$url" 2>&1 | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
    [ -n "$tps" ] || { echo "$contestant failed" >&2; exit 1; }
    echo "$tps" >>"$workspace/$contestant"
  done
done
problems=$(psql -XqAtw -d "$url" -c 'select count(*) from credits.verify_ledger()')
psql -Xqw -d "$server_url" -c "drop database $name"
[ "$problems" = 0 ] || { echo "verify_ledger() found $problems discrepancies" >&2; exit 1; }

median() { sort -n "$workspace/$1" | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
floor=$(median floor)
printf '%-36s %12s %12s\n' "$clients clients, $accounts accounts, $rounds x $seconds s" 'per second' 'of floor'
printf '%-36s %12.0f %12s\n' 'floor: one update, one insert' "$floor" '1.00'
for contestant in charge keyed; do
  value=$(median $contestant)
  case $contestant in charge) label='deduct_credits_for_action' ;; keyed) label='  with an idempotency key' ;; esac
  printf '%-36s %12.0f %12s\n' "$label" "$value" "$(awk "BEGIN { printf \"%.2f\", $value / $floor }")"
done
