# A private PostgreSQL for one run: sourced by the scripts that need one, which set `workspace` to a directory of their
# own first.

# Postgres refuses to run as root: somebody without rights does it then.
if [[ $EUID -eq 0 ]]; then
    postgres_user=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
    as_postgres=(setpriv --reuid="$postgres_user" --regid="$(id -g "$postgres_user")" --clear-groups)
else
    postgres_user=$(id -un)
    as_postgres=()
fi
bin=$(scripts/setup.sh postgres-bin)

# start_postgres PORT OPTIONS: listens on PORT, and exports the superuser's URL.
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
        "${as_postgres[@]}" "$bin/pg_ctl" -D "$data/data" -l "$data/log" -w -s start -o "-c listen_addresses=127.0.0.1 \
            -c port=$1 -c unix_socket_directories='' -c max_connections=400 -c shared_buffers=128MB $2"
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
