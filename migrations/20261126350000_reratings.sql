-- Re-ratings: calls of some days charged anew. What a call was charged first stays in its record, and every later rating is
-- a row here; the last one counts.
CREATE TABLE usage_reratings (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    -- Calendar days in the tenant's time zone, the last one included.
    first_day date NOT NULL,
    last_day date NOT NULL,
    -- NULL: of all teams.
    team text,
    -- Whose prices stand in for its book's; NULL: what the books say that are published.
    price_book_version uuid REFERENCES price_book_versions,
    reason text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    asked_by text NOT NULL,
    UNIQUE (tenant_id, id)
);

CREATE TABLE usage_ratings (
    tenant_id uuid NOT NULL,
    event_day date NOT NULL,
    call_id uuid NOT NULL,
    -- Counts from 1 for each call.
    position integer NOT NULL CHECK (position > 0),
    rerating_id uuid NOT NULL,
    -- As in `usage_records`.
    cost numeric NOT NULL,
    currency text NOT NULL,
    unpriced boolean NOT NULL,
    price_book_version uuid,
    price_index integer,
    PRIMARY KEY (tenant_id, event_day, call_id, position),
    FOREIGN KEY (tenant_id, rerating_id) REFERENCES usage_reratings (tenant_id, id)
);

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['usage_reratings', 'usage_ratings']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO tollgate_app', owned);
        EXECUTE format('CREATE TRIGGER immutable BEFORE UPDATE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', owned);
    END LOOP;
END
$$;
CREATE TRIGGER never_deleted BEFORE DELETE ON usage_reratings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The rating that counts of a call that was rated more than once; no row where the one in its record counts.
CREATE FUNCTION last_rating(tenant uuid, day date, call uuid)
    RETURNS TABLE (rating_position integer, cost numeric, currency text, unpriced boolean, price_book_version uuid, price_index integer)
    LANGUAGE sql STABLE AS $$
    SELECT r.position, r.cost, r.currency, r.unpriced, r.price_book_version, r.price_index
    FROM usage_ratings r WHERE r.tenant_id = tenant AND r.event_day = day AND r.call_id = call
    ORDER BY r.position DESC LIMIT 1
    $$;

CREATE OR REPLACE FUNCTION counted_usage(tenant uuid, first timestamptz, until timestamptz)
    RETURNS TABLE (at timestamptz, dimension_id bigint, calls integer, refused integer, input_tokens bigint,
                   output_tokens bigint, input_bytes bigint, output_bytes bigint, duration_us bigint, upstream_us bigint,
                   cost numeric, unpriced_calls integer)
    LANGUAGE sql STABLE AS $$
    SELECT r.at, d.id, r.forwarded::int, (r.outcome = 'refused')::int, r.input_tokens, r.output_tokens, r.input_bytes,
           r.output_bytes, r.duration_us, r.upstream_us, COALESCE(last.cost, r.cost),
           COALESCE(last.unpriced, r.unpriced)::int
    FROM usage_records r
    LEFT JOIN LATERAL last_rating(r.tenant_id, r.event_day, r.call_id) AS last ON true
    JOIN usage_dimensions d
        ON d.tenant_id = r.tenant_id AND d.team_id IS NOT DISTINCT FROM r.team_id AND d.team = r.team
       AND d.cost_center = r.cost_center AND d.agent_id IS NOT DISTINCT FROM r.agent_id AND d.agent = r.agent
       AND d.user_id IS NOT DISTINCT FROM r.user_id AND d.user_email = r.user_email
       AND d.server_id IS NOT DISTINCT FROM r.server_id AND d.server = r.server AND d.tool = r.tool
       AND d.method = r.method AND d.outcome = r.outcome AND d.labels = r.labels
       AND d.currency = COALESCE(last.currency, r.currency)
    WHERE r.tenant_id = tenant AND r.at >= first AND r.at < until
      AND r.event_day >= (first AT TIME ZONE 'UTC')::date AND r.event_day <= (until AT TIME ZONE 'UTC')::date
    $$;

-- Ratings go with the records that they are of.
CREATE OR REPLACE FUNCTION purge_usage_records(rows_max integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    kept_from date;
    records bigint;
    ratings bigint;
BEGIN
    SELECT LEAST(usage_kept_from, (now() AT TIME ZONE 'UTC')::date - usage_retention_days) INTO kept_from
    FROM tenants WHERE id = current_tenant() AND usage_kept_from IS NOT NULL;
    DELETE FROM usage_records
    WHERE (event_day, call_id) IN (
        SELECT event_day, call_id FROM usage_records
        WHERE tenant_id = current_tenant() AND event_day < kept_from AND at < kept_from::timestamp AT TIME ZONE 'UTC'
        ORDER BY at LIMIT rows_max
    );
    GET DIAGNOSTICS records = ROW_COUNT;
    DELETE FROM usage_ratings
    WHERE (tenant_id, event_day, call_id, position) IN (
        SELECT tenant_id, event_day, call_id, position FROM usage_ratings
        WHERE tenant_id = current_tenant() AND event_day < kept_from
        ORDER BY event_day LIMIT rows_max
    );
    GET DIAGNOSTICS ratings = ROW_COUNT;
    RETURN GREATEST(records, ratings);
END
$$;
-- Replacing it took its settings away: temporary tables come last, so that nobody can put theirs before ours.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION purge_usage_records(integer) SET search_path = %I, pg_temp', current_schema());
END
$$;
