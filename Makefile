# Everything a contributor runs. `make` lists it.

.DEFAULT_GOAL := help
.PHONY: help up test conformance revocations soak watchers admission calls intake reports bench openapi sqlx

help: ## list these
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## install what is missing, build, and run everything on this machine until Ctrl-C (ARGS="…" for more)
	@scripts/setup.sh run
	SQLX_OFFLINE=true cargo build --release -p tollgate
	@exec target/release/tollgate dev $(ARGS)

test: ## install what is missing, then formatting, lints and all tests
	@scripts/setup.sh test
	@scripts/test.sh

conformance: ## the MCP conformance suite through the gateway, both requirement sets, same era and across
	@scripts/setup.sh test
	@scripts/conformance.sh

revocations: ## revoke COUNT tokens (10000) under load at two data planes: none is accepted after; prints the times
	@scripts/setup.sh test
	@COUNT=$(COUNT) scripts/revocations.sh

soak: ## the same load on a whole deployment for DURATION (24h): fails when memory, a table or anything else grows
	@scripts/setup.sh test
	@DURATION=$(DURATION) scripts/soak.sh

watchers: ## measure how long CHANGES (50) of policy a second take to WATCHERS (1000) data planes, for TIME (30) seconds
	@scripts/setup.sh test
	@WATCHERS=$(WATCHERS) CHANGES=$(CHANGES) TIME=$(TIME) scripts/watchers.sh

admission: ## measure what a limit costs a call, against a PING of the same Redis
	@scripts/setup.sh test
	SQLX_OFFLINE=true cargo bench --quiet -p tollgate-data-plane --bench admission

calls: ## measure what a governed call costs a data plane and Redis
	@scripts/setup.sh test
	@scripts/bench.sh calls

intake: ## measure how many usage records a second are stored: RECORDS (360000) from DATA_PLANES (4)
	@scripts/setup.sh test
	@RECORDS=$(RECORDS) DATA_PLANES=$(DATA_PLANES) scripts/intake.sh

reports: ## measure how long reports of a month of RECORDS (100000000) calls take
	@scripts/setup.sh test
	@RECORDS=$(RECORDS) scripts/reports.sh

bench: ## measure the authorization server on one core; table, JSON under target/bench/
	@scripts/setup.sh test
	@scripts/bench.sh authorization

openapi: ## rewrite openapi/control-plane.json from the routes
	UPDATE_OPENAPI=1 SQLX_OFFLINE=true cargo test -p tollgate-control-plane --lib openapi

sqlx: ## record the SQL queries anew (DATABASE_URL names a database with the migrations applied)
	@test -n "$$DATABASE_URL" || { echo "set DATABASE_URL to a database with the migrations applied" >&2; exit 3; }
	rm -rf .sqlx && mkdir .sqlx && touch control-plane/src/lib.rs
	SQLX_OFFLINE_DIR="$(CURDIR)/.sqlx" cargo check -p tollgate-control-plane --all-targets
