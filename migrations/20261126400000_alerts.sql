-- Alerts: what somebody should know of, and the webhooks that tell them.
CREATE TABLE webhooks (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    url text NOT NULL,
    -- The types of alerts that it wants; NULL: all.
    types text[],
    enabled boolean NOT NULL,
    -- Its receiver said that nothing is there any more (410), and it was not written since.
    gone_at timestamptz,
    secret_sealed bytea NOT NULL,
    -- The one before, which signs too until then.
    former_secret_sealed bytea,
    former_secret_until timestamptz,
    -- A control plane delivers to it; until then no other one does.
    held_until timestamptz,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id),
    CHECK ((former_secret_sealed IS NULL) = (former_secret_until IS NULL))
);
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks TO tollgate_app;

CREATE TABLE alerts (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid NOT NULL,
    type text NOT NULL,
    -- What is said once: of a type there is one alert of a key.
    key text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    data jsonb NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, type, key)
);
GRANT SELECT, INSERT, DELETE ON alerts TO tollgate_app;

-- The outbox: who is to be told of which alert, written in the transaction that raises it.
CREATE TABLE alert_deliveries (
    tenant_id uuid NOT NULL,
    alert_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    -- NULL: there will be none. While an attempt is under way: when it counts as lost.
    next_attempt_at timestamptz DEFAULT now(),
    last_attempt_at timestamptz,
    -- What the receiver answered last; NULL: nothing.
    last_status integer,
    -- NULL: nothing is wrong.
    last_error text,
    delivered_at timestamptz,
    given_up_at timestamptz,
    PRIMARY KEY (tenant_id, webhook_id, alert_id),
    FOREIGN KEY (tenant_id, alert_id) REFERENCES alerts (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id) ON DELETE CASCADE,
    CHECK (num_nonnulls(next_attempt_at, delivered_at, given_up_at) = 1)
);
CREATE INDEX ON alert_deliveries (tenant_id, alert_id);
CREATE INDEX ON alert_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_deliveries TO tollgate_app;

-- How many calls a limit refused in an hour (UTC), until an alert of that hour would tell nobody anything.
CREATE TABLE limit_refusals (
    tenant_id uuid NOT NULL,
    limit_id uuid NOT NULL,
    hour timestamptz NOT NULL CHECK (hour = date_trunc('hour', hour, 'UTC')),
    refused bigint NOT NULL,
    -- When the first one of them arrived.
    since timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, limit_id, hour)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON limit_refusals TO tollgate_app;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['webhooks', 'alerts', 'alert_deliveries', 'limit_refusals']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
    END LOOP;
END
$$;

-- Who delivers has to find out where there is something to do, of all tenants at once: the owner may read the outbox, and
-- all that it tells the application is which webhooks have a delivery that is due and are held by nobody.
CREATE POLICY due ON alert_deliveries FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY due ON webhooks FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION due_webhooks(rows_max integer) RETURNS TABLE (tenant uuid, webhook uuid)
    LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT d.tenant_id, d.webhook_id
    FROM alert_deliveries d JOIN webhooks w ON w.tenant_id = d.tenant_id AND w.id = d.webhook_id
    WHERE d.next_attempt_at <= now() AND (w.held_until IS NULL OR w.held_until <= now())
    GROUP BY d.tenant_id, d.webhook_id
    ORDER BY min(d.next_attempt_at)
    LIMIT rows_max
    $$;

-- For how many seconds a delivery has been due to a webhook that nobody holds, of all tenants the longest; 0 when none is.
CREATE FUNCTION overdue_deliveries_s() RETURNS double precision
    LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT COALESCE(EXTRACT(epoch FROM now() - min(d.next_attempt_at)), 0)::double precision
    FROM alert_deliveries d JOIN webhooks w ON w.tenant_id = d.tenant_id AND w.id = d.webhook_id
    WHERE d.next_attempt_at <= now() AND (w.held_until IS NULL OR w.held_until <= now())
    $$;

DO $$
DECLARE
    asked text;
BEGIN
    FOREACH asked IN ARRAY ARRAY['due_webhooks(integer)', 'overdue_deliveries_s()']
    LOOP
        -- Temporary tables come last, so that nobody can put theirs before ours.
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', asked, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', asked);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tollgate_app', asked);
    END LOOP;
END
$$;

-- The limit that refused the call.
ALTER TABLE usage_records ADD COLUMN limit_id uuid;
