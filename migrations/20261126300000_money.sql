-- Price books: what calls cost. A book is a line of versions; `spec` here is the newest one.
CREATE TABLE price_books (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name)
);
ALTER TABLE price_books ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_books FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_books USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON price_books TO tollgate_app;

-- Every version that was ever published, also of books that were deleted: costs refer to them. What a version says never
-- changes; only when it ends is written once that is known.
CREATE TABLE price_book_versions (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    book_id uuid NOT NULL,
    book text NOT NULL,
    -- The book's revision that published it.
    version bigint NOT NULL,
    effective_from timestamptz NOT NULL,
    -- NULL: until another one. As `effective_from`: taken back before it was ever in force.
    effective_until timestamptz CHECK (effective_until >= effective_from),
    spec jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    published_by text NOT NULL,
    UNIQUE (tenant_id, book_id, version)
);
ALTER TABLE price_book_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_book_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_book_versions USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE (effective_until) ON price_book_versions TO tollgate_app;

-- One more with every change of a tenant's price books, by which those who keep them in memory know that they changed.
CREATE TABLE price_revisions (
    tenant_id uuid PRIMARY KEY REFERENCES tenants,
    revision bigint NOT NULL
);
ALTER TABLE price_revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_revisions USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON price_revisions TO tollgate_app;

-- What a call costs, as it was rated when it was stored.
ALTER TABLE usage_records
    -- Not rounded.
    ADD COLUMN cost numeric NOT NULL DEFAULT 0,
    -- Of the book in force for the team; empty: there was none.
    ADD COLUMN currency text NOT NULL DEFAULT '',
    -- It would be charged, and no price could be applied.
    ADD COLUMN unpriced boolean NOT NULL DEFAULT false,
    -- What decided: the version, and which of its prices, from 0.
    ADD COLUMN price_book_version uuid,
    ADD COLUMN price_index integer;
ALTER TABLE usage_hourly
    ADD COLUMN cost numeric NOT NULL DEFAULT 0,
    ADD COLUMN unpriced_calls bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_daily
    ADD COLUMN cost numeric NOT NULL DEFAULT 0,
    ADD COLUMN unpriced_calls bigint NOT NULL DEFAULT 0;

DROP FUNCTION counted_usage(uuid, timestamptz, timestamptz);
CREATE FUNCTION counted_usage(tenant uuid, first timestamptz, until timestamptz)
    RETURNS TABLE (at timestamptz, dimension_id bigint, calls integer, refused integer, input_tokens bigint,
                   output_tokens bigint, input_bytes bigint, output_bytes bigint, duration_us bigint, upstream_us bigint,
                   cost numeric, unpriced_calls integer)
    LANGUAGE sql STABLE AS $$
    SELECT r.at, d.id, r.forwarded::int, (r.outcome = 'refused')::int, r.input_tokens, r.output_tokens, r.input_bytes,
           r.output_bytes, r.duration_us, r.upstream_us, r.cost, r.unpriced::int
    FROM usage_records r
    JOIN usage_dimensions d
        ON d.tenant_id = r.tenant_id AND d.team_id IS NOT DISTINCT FROM r.team_id AND d.team = r.team
       AND d.cost_center = r.cost_center AND d.agent_id IS NOT DISTINCT FROM r.agent_id AND d.agent = r.agent
       AND d.user_id IS NOT DISTINCT FROM r.user_id AND d.user_email = r.user_email
       AND d.server_id IS NOT DISTINCT FROM r.server_id AND d.server = r.server AND d.tool = r.tool
       AND d.method = r.method AND d.outcome = r.outcome AND d.labels = r.labels AND d.currency = r.currency
    WHERE r.tenant_id = tenant AND r.at >= first AND r.at < until
      AND r.event_day >= (first AT TIME ZONE 'UTC')::date AND r.event_day <= (until AT TIME ZONE 'UTC')::date
    $$;

-- Months that were closed. What they cost is in their statements, and later differences in those of later months.
CREATE TABLE closed_periods (
    tenant_id uuid NOT NULL REFERENCES tenants,
    first_day date NOT NULL CHECK (first_day = date_trunc('month', first_day)),
    time_zone text NOT NULL,
    -- That were in force at any time in it.
    price_book_versions uuid[] NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT now(),
    closed_by text NOT NULL,
    PRIMARY KEY (tenant_id, first_day)
);

-- What one team is charged for a month, in one currency.
CREATE TABLE statements (
    tenant_id uuid NOT NULL,
    id uuid PRIMARY KEY,
    first_day date NOT NULL,
    -- Empty: what was charged to no team.
    team text NOT NULL,
    currency text NOT NULL,
    -- The sum of its lines' amounts.
    total numeric NOT NULL,
    lines bigint NOT NULL,
    -- SHA-256 of its lines as `statements/sheet.rs` writes them.
    digest bytea NOT NULL,
    UNIQUE (tenant_id, first_day, team, currency),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, first_day) REFERENCES closed_periods (tenant_id, first_day)
);

CREATE TABLE statement_lines (
    tenant_id uuid NOT NULL,
    statement_id uuid NOT NULL,
    position bigint NOT NULL,
    -- The month that it is about: the statement's own, or, for a correction, an earlier one.
    month date NOT NULL,
    -- For a correction: the statement that it corrects; NULL where the team had none for that month.
    corrects uuid,
    cost_center text NOT NULL,
    agent text NOT NULL,
    server text NOT NULL,
    tool text NOT NULL,
    calls numeric NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    unpriced_calls numeric NOT NULL,
    -- Not rounded.
    cost numeric NOT NULL,
    -- Rounded half to even to the smallest amount of the currency.
    amount numeric NOT NULL,
    PRIMARY KEY (tenant_id, statement_id, position),
    FOREIGN KEY (tenant_id, statement_id) REFERENCES statements (tenant_id, id)
);

-- Not even their owner changes what was closed.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% never changes', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['closed_periods', 'statements', 'statement_lines']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO tollgate_app', owned);
        EXECUTE format('CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', owned);
    END LOOP;
END
$$;
