#!/usr/bin/env bash
# Measures how long a change of policy takes to many data planes: one control plane as released, on a PostgreSQL of its
# own that keeps what it commits, and simulated data planes. WATCHERS, CHANGES (per second) and TIME (in seconds) say
# how much.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-watchers.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
source scripts/control_plane.sh
trap 'stop_control_plane; stop_postgres' EXIT

export SQLX_OFFLINE=true
cargo build --release -p tollgate
cargo bench -p tollgate-data-plane --bench watchers --no-run
start_postgres "$(free_port)" ""

# A connection for each data plane.
ulimit -n "$(ulimit -H -n)"
start_control_plane target/release/tollgate

TOLLGATE_URL=http://127.0.0.1:$http TOLLGATE_TOKEN_FILE=$workspace/admin-token TOLLGATE_GRPC_URL=https://127.0.0.1:$grpc \
    TOLLGATE_BENCH_WATCHERS=${WATCHERS:-1000} TOLLGATE_BENCH_CHANGES=${CHANGES:-50} TOLLGATE_BENCH_SECONDS=${TIME:-30} \
    TOLLGATE_BENCH_FOLDER=$workspace/data-planes TOLLGATE_BENCH_CONTROL_PLANE=$control_plane \
    cargo bench -p tollgate-data-plane --bench watchers
