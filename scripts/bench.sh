#!/usr/bin/env bash
# Measures the product as released, with a PostgreSQL of its own that keeps what it commits.
#
#   scripts/bench.sh authorization    the authorization server
#   scripts/bench.sh calls            what a governed call costs
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-bench.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
trap stop_postgres EXIT

export SQLX_OFFLINE=true
cargo build --release -p tollgate
cargo bench -p tollgate-tests --bench "$1" --no-run
start_postgres "$(free_port)" ""
cargo bench -p tollgate-tests --bench "$1"
