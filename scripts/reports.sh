#!/usr/bin/env bash
# Measures how long reports of a month of RECORDS (100000000) calls take: over HTTP from one control plane, on a PostgreSQL of
# its own. The calls themselves are not made; what intakes would have added up of them is, for COMBINATIONS (20000) of team,
# agent, user, server, tool and outcome on every day of the month. RUNS (40) and PROFILE (release) say how.
set -euo pipefail
cd "$(dirname "$0")/.."

workspace=$(mktemp -d /tmp/tollgate-reports.XXXXXX)
chmod 711 "$workspace"
source scripts/postgres.sh
source scripts/control_plane.sh
trap 'stop_control_plane; stop_postgres' EXIT

export SQLX_OFFLINE=true
PROFILE=${PROFILE:-release}
cargo build --profile "$PROFILE" -p tollgate
built=$([[ $PROFILE == dev ]] && echo debug || echo "$PROFILE")
start_postgres "$(free_port)" "${POSTGRES_OPTIONS:-}"

start_control_plane "target/$built/tollgate"

PATH=$bin:$PATH
sql=(psql -q -v ON_ERROR_STOP=1 -d "$TOLLGATE_TEST_DATABASE_URL")
# 20 teams with 10 agents each, 400 tools of 40 servers, 500 users; a twentieth failed.
"${sql[@]}" -v records="${RECORDS:-100000000}" -v combinations="${COMBINATIONS:-20000}" <<'SQL'
INSERT INTO usage_dimensions (tenant_id, digest, team, cost_center, agent, user_email, server, tool, method, outcome, currency,
                              labels)
SELECT tenants.id, sha256(n::text::bytea), 'team-' || n % 20, 'CC-' || n % 20, 'agent-' || n % 200,
       'user-' || n % 500 || '@example.com', 'server-' || n % 40, 'tool-' || n % 400, 'tools/call',
       CASE WHEN n / 20 % 20 = 0 THEN 'tool_error' ELSE 'ok' END, 'EUR',
       jsonb_build_object('stage', 'prod', 'app', 'app-' || n % 50)
FROM tenants, generate_series(1, :combinations) AS n WHERE tenants.name = 'default';
INSERT INTO usage_daily (tenant_id, day, dimension_id, records, calls, refused, input_tokens, output_tokens, input_bytes,
                         output_bytes, duration_us, upstream_us, cost, unpriced_calls)
SELECT of.tenant_id, day, of.id, n, n, 0, n * 180, n * 420, n * 800, n * 2000, n * 50000, n * 49000, n * 0.0101, 0
FROM generate_series('2026-10-01', '2026-10-31', interval '1 day') AS day, usage_dimensions AS of,
     ceil(:records / 31.0 / :combinations) AS n
ORDER BY day, of.id;
INSERT INTO usage_monthly (tenant_id, month, dimension_id, records, calls, refused, input_tokens, output_tokens, input_bytes,
                           output_bytes, duration_us, upstream_us, cost, unpriced_calls)
SELECT tenant_id, date '2026-10-01', dimension_id, sum(records), sum(calls), sum(refused), sum(input_tokens), sum(output_tokens),
       sum(input_bytes), sum(output_bytes), sum(duration_us), sum(upstream_us), sum(cost), sum(unpriced_calls)
FROM usage_daily GROUP BY 1, 2, 3 ORDER BY 3;
VACUUM ANALYZE usage_dimensions, usage_daily, usage_monthly;
SQL
"${sql[@]}" -A -t -c "SELECT 'October 2026: ' || sum(records) || ' records in ' || count(*) || ' sums of months and '
    || (SELECT count(*) FROM usage_daily) || ' of days' FROM usage_monthly"

TOLLGATE_BENCH_READ="${sql[*]} -A -t -c" TOLLGATE_BENCH_HTTP=$http TOLLGATE_BENCH_TOKEN=$(cat "$workspace/admin-token") \
    TOLLGATE_BENCH_RUNS=${RUNS:-40} python3 - <<'MEASURE'
import http.client, json, os, re, shlex, statistics, subprocess, time

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["TOLLGATE_BENCH_HTTP"]))
bearer = {"authorization": "Bearer " + os.environ["TOLLGATE_BENCH_TOKEN"]}
tenant = "/api/v1/tenants/default"


def call(method, path, headers, body=None):
    if body is not None:
        headers = {**headers, "content-type": "application/json"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer, answer.read()


def made(method, path, body):
    answer, text = call(method, path, bearer, body)
    assert answer.status < 300, text
    return json.loads(text)


# What is read of the sums. Connections tell of it when they have been idle for ten seconds.
def read():
    time.sleep(12)
    query = """SELECT string_agg((seq_tup_read + coalesce(idx_tup_fetch, 0))::text, ' ' ORDER BY relname DESC)
               FROM pg_stat_user_tables WHERE relname IN ('usage_daily', 'usage_monthly')"""
    out = subprocess.run(shlex.split(os.environ["TOLLGATE_BENCH_READ"]) + [query], check=True, capture_output=True)
    return [int(rows) for rows in out.stdout.split()]


# Somebody signed in to the console, and a budget on all of it.
price = {"match": "*", "per_call": "0.0101"}
made("PUT", f"{tenant}/price-books/standard", {"spec": {"effective_from": "2020-01-01", "currency": "EUR", "prices": [price]}})
made("POST", f"{tenant}/users", {"email": "finance@example.com", "spec": {"role": "finance"}})
link = made("POST", f"{tenant}/users/finance@example.com:sign-in-link", {})["url"]
path = re.sub(r"^https?://[^/]*", "", link)
answer, _ = call("GET", path, {})
cookies = [value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
browser = {"cookie": "; ".join(cookies)}

reports = f"{tenant}/reports/chargeback/2026-10"
measured = [(f"by {by}", f"{reports}?group_by={by}", bearer) for by in ("team", "agent", "tool", "team,server", "user,tool")]
measured += [("by team and day", f"{reports}?group_by=team,day", bearer)]
measured += [("the agents of a team", f"{reports}?group_by=agent&team=team-7", bearer)]
measured += [("15 days by team", f"{tenant}/reports/chargeback/2026-10-10..2026-10-25?group_by=team", bearer)]
measured += [("FOCUS of a day", f"{tenant}/reports/chargeback/2026-10-15?format=focus", bearer)]
measured += [("the page of the console", "/usage?period=2026-10&by=team", browser)]

runs, held = int(os.environ["TOLLGATE_BENCH_RUNS"]), read()


def measure(name, path, headers):
    global held
    before, times = held, []
    for _ in range(runs):
        began = time.perf_counter()
        answer, text = call("GET", path, headers)
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, (path, answer.status, text[:500])
    held = read()
    months, days = ((now - then) // runs for now, then in zip(held, before))
    times.sort()
    p95 = times[min(len(times) - 1, round(len(times) * 0.95))]
    print(f"| {name} | {statistics.median(times):.0f} ms | {p95:.0f} ms | {months:,} | {days:,} |", flush=True)


print("| report of the month | p50 | p95 | sums of months read | sums of days read |\n| --- | ---: | ---: | ---: | ---: |")
for one in measured:
    measure(*one)
made("PUT", f"{tenant}/budgets/all", {"spec": {"to": {"tenant": "default"}, "period": "month", "amount": "2000000"}})
measure("by team, with a budget on all of it", f"{reports}?group_by=team", bearer)
made("PUT", f"{tenant}/budgets/yearly", {"spec": {"to": {"tenant": "default"}, "period": "year", "amount": "2000000"}})
measure("a budget of the year", f"{tenant}/budgets/yearly", bearer)
MEASURE
