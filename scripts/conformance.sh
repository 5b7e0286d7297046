#!/usr/bin/env bash
# The MCP conformance suite: against the reference server alone, and through two data planes, with the server in the
# suite's era and in the other one. Ends with a table and `N passed, N failed`.
#
# What may fail, and why, is listed in tests/conformance.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-conformance.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
trap stop_postgres EXIT
start_postgres "$(free_port)" "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"

export SQLX_OFFLINE=true
# The stories run the real binary.
cargo build --quiet -p tollgate
log=$workspace/conformance.log
status=0
cargo test -p tollgate-tests --test e2e -- conformance::the_ --nocapture 2>&1 | tee "$log" || status=$?

# `conformance | set | N passed | N excepted | N failed`, whatever libtest put before it.
rows=$(sed -n 's/^.*conformance | *\([^ ]*\) *| *\([0-9]*\) passed | *\([0-9]*\) excepted | *\([0-9]*\) failed$/\1 \2 \3 \4/p' "$log" | sort)
echo
printf '%-12s | %6s | %8s | %6s\n' set passed excepted failed
awk '{ printf "%-12s | %6d | %8d | %6d\n", $1, $2, $3, $4 }' <<<"$rows"
passed=$(awk '{ n += $2 } END { print n + 0 }' <<<"$rows")
failed=$(awk '{ n += $4 } END { print n + 0 }' <<<"$rows")
# A run that fails without a failed check did not get that far.
((status == 0 || failed > 0)) || failed=1
echo
echo "$passed passed, $failed failed"
((failed == 0))
