-- Sums by calendar month in the tenant's time zone: what the days of the month come to, so that who asks for months need
-- not add up thirty times as many rows. As those of hours and days they are kept for ever.
CREATE TABLE usage_monthly (
    tenant_id uuid NOT NULL,
    -- Its first day.
    month date NOT NULL CHECK (month = date_trunc('month', month::timestamp)),
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
    cost numeric NOT NULL DEFAULT 0,
    unpriced_calls bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, month, dimension_id),
    FOREIGN KEY (tenant_id, dimension_id) REFERENCES usage_dimensions (tenant_id, id)
) WITH (fillfactor = 70);

-- Of all tenants, whose rows even their owner does not see otherwise; nobody adds to a day meanwhile.
ALTER TABLE usage_daily NO FORCE ROW LEVEL SECURITY;
INSERT INTO usage_monthly
    (tenant_id, month, dimension_id, records, calls, refused, input_tokens, output_tokens, input_bytes, output_bytes,
     duration_us, upstream_us, cost, unpriced_calls)
SELECT tenant_id, date_trunc('month', day::timestamp)::date, dimension_id, sum(records), sum(calls), sum(refused),
       sum(input_tokens), sum(output_tokens), sum(input_bytes), sum(output_bytes), sum(duration_us), sum(upstream_us),
       sum(cost), sum(unpriced_calls)
FROM usage_daily GROUP BY 1, 2, 3;
ALTER TABLE usage_daily FORCE ROW LEVEL SECURITY;

ALTER TABLE usage_monthly ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_monthly FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_monthly USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON usage_monthly TO tollgate_app;

-- The first day of a month that is this day or comes after it.
CREATE FUNCTION next_month(day date) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT (date_trunc('month', day::timestamp - interval '1 day') + interval '1 month')::date
    $$;

-- What the days from `first` on are made of, `until` not included: the sums of the months that lie in them wholly, and those
-- of the days before and behind. Whoever asks adds them up.
CREATE FUNCTION usage_of_days(tenant uuid, first date, until date)
    RETURNS TABLE (dimension_id bigint, records bigint, calls bigint, refused bigint, input_tokens numeric,
                   output_tokens numeric, cost numeric, unpriced_calls bigint)
    LANGUAGE sql STABLE AS $$
    SELECT m.dimension_id, m.records, m.calls, m.refused, m.input_tokens, m.output_tokens, m.cost, m.unpriced_calls
    FROM usage_monthly m
    WHERE m.tenant_id = tenant AND m.month >= next_month(first)
      AND m.month < date_trunc('month', until::timestamp)::date
    UNION ALL
    SELECT d.dimension_id, d.records, d.calls, d.refused, d.input_tokens, d.output_tokens, d.cost, d.unpriced_calls
    FROM usage_daily d
    WHERE d.tenant_id = tenant AND d.day >= first AND d.day < LEAST(until, next_month(first))
    UNION ALL
    SELECT d.dimension_id, d.records, d.calls, d.refused, d.input_tokens, d.output_tokens, d.cost, d.unpriced_calls
    FROM usage_daily d
    WHERE d.tenant_id = tenant AND d.day >= GREATEST(next_month(first), date_trunc('month', until::timestamp)::date)
      AND d.day < until
    $$;

-- What a report tells calls apart by, NULL for what cannot be attributed. Nothing but an expression, so that the planner puts
-- it in place and knows of what it is.
CREATE FUNCTION usage_key(of usage_dimensions, server_team text, day date, key text) RETURNS text
    LANGUAGE sql STABLE AS $$
    SELECT NULLIF(CASE key
        WHEN '' THEN NULL
        WHEN 'team' THEN of.team WHEN 'cost_center' THEN of.cost_center WHEN 'agent' THEN of.agent
        WHEN 'user' THEN of.user_email WHEN 'server' THEN of.server
        WHEN 'tool' THEN CASE WHEN of.tool <> '' THEN of.server || ':' || of.tool END
        WHEN 'server_team' THEN server_team
        WHEN 'day' THEN day::text
        -- `label:KEY`
        ELSE of.labels ->> substr(key, 7) END, '')
    $$;
