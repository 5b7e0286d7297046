#!/usr/bin/env bash
# Measures the authorization server, as released, on a PostgreSQL of its own that keeps what it commits.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-bench.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
trap stop_postgres EXIT

export SQLX_OFFLINE=true
cargo build --release -p tollgate
cargo bench -p tollgate-tests --bench authorization --no-run
start_postgres "$(free_port)" ""
cargo bench -p tollgate-tests --bench authorization
