-- The ledger: what usage records add up to, by hour and by day, and for how long the records themselves are kept.

ALTER TABLE tenants
    -- Of its days, by IANA name: reports, budgets and statements add up calendar days in it.
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
    -- The zone that `usage_daily` is counted in; when that is another one than `time_zone`, or none, a job counts anew.
    ADD COLUMN usage_days_zone text,
    ADD COLUMN usage_retention_days integer NOT NULL DEFAULT 90 CHECK (usage_retention_days BETWEEN 1 AND 3650),
    -- The first day (UTC) whose records were not removed; none was yet where this is NULL.
    ADD COLUMN usage_kept_from date;
-- Of tenants from before the ledger nothing is in the rollups yet.
ALTER TABLE tenants ALTER COLUMN usage_days_zone SET DEFAULT 'UTC';

ALTER TABLE usage_records
    -- Partitions come and go, and a foreign key would lock all tenants each time. Who inserts holds the tenant fast, and
    -- the application deletes none.
    DROP CONSTRAINT usage_records_tenant_id_fkey,
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
    -- Of every kind; a row of none says nothing.
    records bigint NOT NULL,
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
    records bigint NOT NULL,
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

-- What the records of a time count towards: what rollups are compared with when they are rebuilt.
CREATE FUNCTION counted_usage(tenant uuid, first timestamptz, until timestamptz)
    RETURNS TABLE (at timestamptz, dimension_id bigint, calls integer, refused integer, input_tokens bigint,
                   output_tokens bigint, input_bytes bigint, output_bytes bigint, duration_us bigint, upstream_us bigint)
    LANGUAGE sql STABLE AS $$
    SELECT r.at, d.id, r.forwarded::int, (r.outcome = 'refused')::int, r.input_tokens, r.output_tokens, r.input_bytes,
           r.output_bytes, r.duration_us, r.upstream_us
    FROM usage_records r
    JOIN usage_dimensions d
        ON d.tenant_id = r.tenant_id AND d.team_id IS NOT DISTINCT FROM r.team_id AND d.team = r.team
       AND d.cost_center = r.cost_center AND d.agent_id IS NOT DISTINCT FROM r.agent_id AND d.agent = r.agent
       AND d.user_id IS NOT DISTINCT FROM r.user_id AND d.user_email = r.user_email
       AND d.server_id IS NOT DISTINCT FROM r.server_id AND d.server = r.server AND d.tool = r.tool
       AND d.method = r.method AND d.outcome = r.outcome AND d.labels = r.labels AND d.currency = ''
    WHERE r.tenant_id = tenant AND r.at >= first AND r.at < until
      AND r.event_day >= (first AT TIME ZONE 'UTC')::date AND r.event_day <= (until AT TIME ZONE 'UTC')::date
    $$;

-- Partitions and old records are the owner's to remove; what the application may ask for is decided here.

-- A partition for the records of one day (UTC). False when there is one, or when the day has records already, as those
-- days have that were there before partitions.
CREATE FUNCTION make_usage_partition(day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
    partition text := 'usage_records_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL OR EXISTS (SELECT FROM usage_records_default WHERE event_day = day) THEN
        RETURN false;
    END IF;
    -- Made apart and then attached: that does not wait for who writes to other partitions.
    EXECUTE format('CREATE TABLE %I (LIKE usage_records INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    EXECUTE format('ALTER TABLE usage_records ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, day, day + 1);
    RETURN true;
END
$$;

-- Drops the oldest partition when no tenant keeps records of its day; answers that day, NULL when there is none.
CREATE FUNCTION drop_usage_partition() RETURNS date
    LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
    partition text;
    day date;
BEGIN
    SELECT relname, to_date(right(relname, 8), 'YYYYMMDD') INTO partition, day
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'usage_records'::regclass AND relname ~ '^usage_records_[0-9]{8}$'
    ORDER BY relname LIMIT 1;
    IF day IS NULL OR EXISTS (
        SELECT FROM tenants
        WHERE usage_kept_from IS NULL OR day >= LEAST(usage_kept_from, (now() AT TIME ZONE 'UTC')::date - usage_retention_days)
    ) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('DROP TABLE %I', partition);
    RETURN day;
END
$$;

-- Deletes some of the records that the tenant of the transaction no longer keeps; answers how many.
CREATE FUNCTION purge_usage_records(rows_max integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    kept_from date;
    deleted bigint;
BEGIN
    SELECT LEAST(usage_kept_from, (now() AT TIME ZONE 'UTC')::date - usage_retention_days) INTO kept_from
    FROM tenants WHERE id = current_tenant() AND usage_kept_from IS NOT NULL;
    DELETE FROM usage_records
    WHERE (event_day, call_id) IN (
        SELECT event_day, call_id FROM usage_records
        WHERE tenant_id = current_tenant() AND event_day < kept_from AND at < kept_from::timestamp AT TIME ZONE 'UTC'
        ORDER BY at LIMIT rows_max
    );
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

DO $$
DECLARE
    asked text;
BEGIN
    FOREACH asked IN ARRAY ARRAY['make_usage_partition(date)', 'drop_usage_partition()', 'purge_usage_records(integer)']
    LOOP
        -- Temporary tables come last, so that nobody can put theirs before ours.
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', asked, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', asked);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tollgate_app', asked);
    END LOOP;
END
$$;
