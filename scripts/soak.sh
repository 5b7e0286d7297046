#!/usr/bin/env bash
# Puts the same load on a whole deployment for a long time, DURATION (as in 90s, 10m or 24h), and fails when memory, a
# table, Redis or the number of open files still grows in the second half of it.
set -euo pipefail
cd "$(dirname "$0")/.."

duration=${DURATION:-24h}
case $duration in
*[0-9]s) seconds=${duration%s} ;;
*[0-9]m) seconds=$((${duration%m} * 60)) ;;
*[0-9]h) seconds=$((${duration%h} * 3600)) ;;
*)
    echo "DURATION is $duration: write it as in 90s, 10m or 24h" >&2
    exit 3
    ;;
esac

workspace=$(mktemp -d /tmp/tollgate-soak.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
trap stop_postgres EXIT

export SQLX_OFFLINE=true TOLLGATE_SOAK_SECONDS=$seconds
cargo build -p tollgate
cargo test -p tollgate-tests --bench soak --no-run
start_postgres "$(free_port)" ""
cargo test -p tollgate-tests --bench soak
