#!/usr/bin/env bash
# Measures how long a change of policy takes to many data planes: one control plane as released, on a PostgreSQL of its
# own that keeps what it commits, and simulated data planes. WATCHERS, CHANGES (per second) and TIME (in seconds) say
# how much.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-watchers.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
trap 'kill "${control_plane:-}" 2>/dev/null; stop_postgres' EXIT

export SQLX_OFFLINE=true
cargo build --release -p tollgate
cargo bench -p tollgate-data-plane --bench watchers --no-run
start_postgres "$(free_port)" ""

http=$(free_port) grpc=$(free_port) ops=$(free_port)
head -c 32 /dev/urandom | base64 >"$workspace/master-key"
chmod 600 "$workspace/master-key"
TOLLGATE_ENROLLMENT_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export TOLLGATE_ENROLLMENT_TOKEN
# A connection for each data plane.
ulimit -n "$(ulimit -H -n)"
target/release/tollgate control-plane --database-url "$TOLLGATE_TEST_DATABASE_URL" \
    --master-key-file "$workspace/master-key" --admin-token-file "$workspace/admin-token" \
    --control-addr "127.0.0.1:$http" --grpc-addr "127.0.0.1:$grpc" --control-ops-addr "127.0.0.1:$ops" \
    --public-control-url "http://127.0.0.1:$http" --public-data-url http://127.0.0.1:9 2>"$workspace/log" &
control_plane=$!
until curl -fs "http://127.0.0.1:$ops/readyz" >/dev/null; do
    kill -0 "$control_plane" || { cat "$workspace/log" >&2; exit 1; }
    sleep 0.2
done

TOLLGATE_URL=http://127.0.0.1:$http TOLLGATE_TOKEN_FILE=$workspace/admin-token TOLLGATE_GRPC_URL=https://127.0.0.1:$grpc \
    TOLLGATE_BENCH_WATCHERS=${WATCHERS:-1000} TOLLGATE_BENCH_CHANGES=${CHANGES:-50} TOLLGATE_BENCH_SECONDS=${TIME:-30} \
    TOLLGATE_BENCH_FOLDER=$workspace/data-planes TOLLGATE_BENCH_CONTROL_PLANE=$control_plane \
    cargo bench -p tollgate-data-plane --bench watchers
