#!/usr/bin/env bash
# Measures how many usage records a second one control plane stores: as released, on a PostgreSQL of its own that keeps what
# it commits, with simulated data planes on the same cores. RECORDS, DATA_PLANES and PROFILE (release) say how.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-intake.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
source scripts/control_plane.sh
trap 'stop_control_plane; stop_postgres' EXIT

export SQLX_OFFLINE=true
PROFILE=${PROFILE:-release}
cargo build --profile "$PROFILE" -p tollgate
built=$([[ $PROFILE == dev ]] && echo debug || echo "$PROFILE")
start_postgres "$(free_port)" "${POSTGRES_OPTIONS:-}"

start_control_plane "target/$built/tollgate"

# Fifty prices: for everything, for each server, and for some tools.
tenant=http://127.0.0.1:$http/api/v1/tenants/default
bearer="authorization: Bearer $(cat "$workspace/admin-token")"
python3 - >"$workspace/prices.json" <<'PRICES'
import json
matches = ["*"] + [f"server-{n}:*" for n in range(20)] + [f"server-{n % 20}:tool_{n}" for n in range(29)]
prices = [{"match": match, "per_call": f"0.0{1 + n}", "per_1k_output_tokens": "0.002", "per_second": "0.0005"}
          for n, match in enumerate(matches)]
print(json.dumps({"spec": {"effective_from": "2020-01-01", "currency": "EUR", "prices": prices}}))
PRICES
curl -fsS -o /dev/null -X PUT -H "$bearer" -H 'content-type: application/json' \
    --data-binary "@$workspace/prices.json" "$tenant/price-books/standard"
TOLLGATE_BENCH_TENANT=$(curl -fsS -H "$bearer" "$tenant" | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')

# ask SQL: one value.
ask() { psql -X -A -t -c "$1" "$TOLLGATE_TEST_DATABASE_URL"; }
# What the control plane was at work so far, in hundredths of a second (proc(5)).
work() { sed 's/.*) //' "/proc/$control_plane/stat" | awk '{ print $12 + $13 }'; }

export TOLLGATE_BENCH_TENANT TOLLGATE_GRPC_URL=https://127.0.0.1:$grpc TOLLGATE_BENCH_FOLDER=$workspace/data-planes \
    TOLLGATE_BENCH_RECORDS=${RECORDS:-360000} TOLLGATE_BENCH_DATA_PLANES=${DATA_PLANES:-4}
cargo bench --profile "$PROFILE" -p tollgate-data-plane --bench intake --no-run
wal=$(ask 'SELECT pg_current_wal_lsn()') before=$(work)
cargo bench --profile "$PROFILE" -p tollgate-data-plane --bench intake
after=$(work)
ask "SELECT format('a record: %s µs of the control plane, %s bytes with indexes, %s bytes of write-ahead log',
        round($((after - before)) * 10000.0 / records), round(bytes / records), round(wal / records))
    FROM (SELECT count(*)::numeric AS records, pg_current_wal_lsn() - '$wal' AS wal,
        (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'usage_records'::regclass) AS bytes
        FROM usage_records) AS stored"
