#!/usr/bin/env bash
# Every check there is: formatting, lints, all tests. Ends with `N passed, N failed` over everything.
#
# One PostgreSQL serves the whole run: private, in a directory of its own, gone at the end. Each test makes its own
# database on it.
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
workspace=$(mktemp -d /tmp/tollgate-test.XXXXXX)
chmod 711 "$workspace"

source scripts/postgres.sh

# check NAME COMMAND...: one check that passes or fails as a whole.
check() {
    local name=$1
    shift
    echo "== $name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name ($*)"
    fi
}

# count_tests NAME COMMAND...: runs tests and adds up what libtest's summaries say.
count_tests() {
    local name=$1 log=$workspace/tests.log status=0 ok bad
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$log" || status=$?
    ok=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")
    bad=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")
    # A run that fails without a failed test did not compile, or was killed.
    ((status == 0 || bad > 0)) || bad=1
    # What failed tests said, once more where it is looked for: at the end.
    ((bad == 0)) || awk '/^---- .* stdout ----$/ { on = 1 } /^(failures|test result):/ { on = 0 } on' "$log" >"$workspace/failures.log"
    passed=$((passed + ok))
    failed=$((failed + bad))
}

trap stop_postgres EXIT
# Nothing has to survive a crash of this machine.
start_postgres "$(free_port)" "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"

# The queries are checked against the recorded ones, not against a database.
export SQLX_OFFLINE=true
check formatting cargo fmt --all --check
check lints cargo clippy --quiet --workspace --all-targets -- -D warnings
# The end-to-end tests run the real binary.
check binary cargo build --quiet -p tollgate
count_tests tests cargo test --workspace --no-fail-fast

[[ ! -s $workspace/failures.log ]] || cat "$workspace/failures.log"
echo
echo "$passed passed, $failed failed"
((failed == 0))
