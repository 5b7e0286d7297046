# A control plane of one's own: sourced, after `postgres.sh` has started a PostgreSQL, by the scripts that measure one.

# start_control_plane PROGRAM: waits until it is ready. Sets `control_plane` to its process and `http` and `grpc` to its ports;
# its administrator's token is $workspace/admin-token. Exports the token with which data planes join.
start_control_plane() {
    local ops
    http=$(free_port) grpc=$(free_port) ops=$(free_port)
    head -c 32 /dev/urandom | base64 >"$workspace/master-key"
    chmod 600 "$workspace/master-key"
    TOLLGATE_ENROLLMENT_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    export TOLLGATE_ENROLLMENT_TOKEN
    "$1" control-plane --database-url "$TOLLGATE_TEST_DATABASE_URL" \
        --master-key-file "$workspace/master-key" --admin-token-file "$workspace/admin-token" \
        --control-addr "127.0.0.1:$http" --grpc-addr "127.0.0.1:$grpc" --control-ops-addr "127.0.0.1:$ops" \
        --public-control-url "http://127.0.0.1:$http" --public-data-url http://127.0.0.1:9 2>"$workspace/log" &
    control_plane=$!
    until curl -fs "http://127.0.0.1:$ops/readyz" >/dev/null; do
        kill -0 "$control_plane" || { cat "$workspace/log" >&2; return 1; }
        sleep 0.2
    done
}

stop_control_plane() { kill "${control_plane:-}" 2>/dev/null || true; }
