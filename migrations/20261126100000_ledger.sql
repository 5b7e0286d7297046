-- The ledger: what usage records add up to, by hour and by day, and for how long the records themselves are kept.

ALTER TABLE tenants
    -- Of its days, by IANA name: reports, budgets and statements add up calendar days in it.
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
    -- Of the zone that `usage_daily` was last counted in; another one than `time_zone`, or none: a job counts anew.
    ADD COLUMN usage_days_zone text,
    ADD COLUMN usage_retention_days integer NOT NULL DEFAULT 90 CHECK (usage_retention_days BETWEEN 1 AND 3650),
    -- The first day (UTC) whose records were not removed; none was yet where this is NULL.
    ADD COLUMN usage_kept_from date;
COMMENT ON COLUMN tenants.usage_days_zone IS 'NULL: the records from before the ledger are not in the rollups yet';

ALTER TABLE usage_records
    -- The call that this one is a round of, or asks about.
    ADD COLUMN parent_call_id uuid,
    -- The server asked for something instead of ending the call.
    ADD COLUMN input_required boolean NOT NULL DEFAULT false,
    -- The agent's at the time of the call.
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';

-- What calls that are counted together have in common, each combination once. Names are those at the time of the calls.
CREATE TABLE usage_dimensions (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- SHA-256 of the columns below: names are too long for an index.
    digest bytea NOT NULL,
    team_id uuid,
    team text NOT NULL,
    cost_center text NOT NULL,
    agent_id uuid,
    agent text NOT NULL,
    user_id uuid,
    user_email text NOT NULL,
    server_id uuid,
    server text NOT NULL,
    tool text NOT NULL,
    method text NOT NULL,
    outcome text NOT NULL,
    -- Of the price book; empty: nothing had a price.
    currency text NOT NULL,
    labels jsonb NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, digest)
);

-- Sums over the calls that arrived in an hour (UTC). Numeric, because a data plane that counts wrongly must not be able
-- to hold up everybody's intake by an overflow. Rows are updated with every batch, hence the room left in each page.
CREATE TABLE usage_hourly (
    tenant_id uuid NOT NULL,
    hour timestamptz NOT NULL CHECK (hour = date_trunc('hour', hour, 'UTC')),
    dimension_id bigint NOT NULL,
    -- That a server saw.
    calls bigint NOT NULL,
    -- That were turned away.
    refused bigint NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    input_bytes numeric NOT NULL,
    output_bytes numeric NOT NULL,
    duration_us numeric NOT NULL,
    upstream_us numeric NOT NULL,
    PRIMARY KEY (tenant_id, hour, dimension_id),
    FOREIGN KEY (tenant_id, dimension_id) REFERENCES usage_dimensions (tenant_id, id)
) WITH (fillfactor = 70);

-- The same by calendar day in the tenant's time zone.
CREATE TABLE usage_daily (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    dimension_id bigint NOT NULL,
    calls bigint NOT NULL,
    refused bigint NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    input_bytes numeric NOT NULL,
    output_bytes numeric NOT NULL,
    duration_us numeric NOT NULL,
    upstream_us numeric NOT NULL,
    PRIMARY KEY (tenant_id, day, dimension_id),
    FOREIGN KEY (tenant_id, dimension_id) REFERENCES usage_dimensions (tenant_id, id)
) WITH (fillfactor = 70);

-- How much Tollgate added to the forwarded calls of an hour: how many calls lie in each bucket, for percentiles.
CREATE TABLE usage_overhead (
    tenant_id uuid NOT NULL REFERENCES tenants,
    hour timestamptz NOT NULL,
    -- As `usage/overhead.rs` has them.
    bucket integer NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (tenant_id, hour, bucket)
) WITH (fillfactor = 70);

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['usage_dimensions', 'usage_hourly', 'usage_daily', 'usage_overhead']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO tollgate_app', owned);
    END LOOP;
END
$$;
REVOKE UPDATE ON usage_dimensions FROM tollgate_app;
