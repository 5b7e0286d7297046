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

# Postgres refuses to run as root: somebody without rights does it then.
if [[ $EUID -eq 0 ]]; then
    postgres_user=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
    as_postgres=(setpriv --reuid="$postgres_user" --regid="$(id -g "$postgres_user")" --clear-groups)
else
    postgres_user=$(id -un)
    as_postgres=()
fi
bin=$(scripts/setup.sh postgres-bin)

start_postgres() {
    local data=$workspace/postgres
    local password
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    mkdir -m 700 "$data"
    echo "$password" >"$data/password"
    chown -R "$postgres_user" "$data"
    (
        cd /
        "${as_postgres[@]}" "$bin/initdb" -D "$data/data" -U postgres -A scram-sha-256 --pwfile="$data/password" \
            -E UTF8 --locale=C --no-sync >"$workspace/initdb.log"
        # Nothing has to survive a crash of this machine.
        "${as_postgres[@]}" "$bin/pg_ctl" -D "$data/data" -l "$data/log" -w -s start -o "-c listen_addresses=127.0.0.1 \
            -c port=$1 -c unix_socket_directories='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
            -c max_connections=400 -c shared_buffers=128MB"
    )
    export TOLLGATE_TEST_DATABASE_URL=postgres://postgres:$password@127.0.0.1:$1/postgres
}

stop_postgres() {
    if [[ -e $workspace/postgres/data/postmaster.pid ]]; then
        (cd / && "${as_postgres[@]}" "$bin/pg_ctl" -D "$workspace/postgres/data" -m immediate -s stop) || true
    fi
    rm -rf "$workspace"
}

# A port that nobody has now.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

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
    passed=$((passed + ok))
    failed=$((failed + bad))
}

trap stop_postgres EXIT
start_postgres "$(free_port)"

# The queries are checked against the recorded ones, not against a database.
export SQLX_OFFLINE=true
check formatting cargo fmt --all --check
check lints cargo clippy --quiet --workspace --all-targets -- -D warnings
# The end-to-end tests run the real binary.
check binary cargo build --quiet -p tollgate
count_tests tests cargo test --workspace --no-fail-fast

echo
echo "$passed passed, $failed failed"
((failed == 0))
