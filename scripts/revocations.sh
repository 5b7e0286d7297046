#!/usr/bin/env bash
# Revokes many tokens while they are used, and looks that none is accepted once every data plane has confirmed it.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-revocations.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
trap stop_postgres EXIT

export SQLX_OFFLINE=true TOLLGATE_TEST_REVOCATIONS="${COUNT:-10000}"
cargo build -p tollgate
cargo test -p tollgate-tests --test e2e --no-run
start_postgres "$(free_port)" ""
cargo test -p tollgate-tests --test e2e -- --nocapture revocation_bound
