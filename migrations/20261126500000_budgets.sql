-- Budgets: how much an agent, a team or all of a tenant may spend in a calendar period.
CREATE TABLE budgets (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    agent_id uuid,
    -- Whatever this team pays for.
    team_id uuid,
    -- Everything that the tenant does.
    whole_tenant boolean NOT NULL DEFAULT false,
    -- Of the tenant's time zone.
    period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'quarter', 'year')),
    amount numeric NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    -- Whether calls are turned away once it is spent; data planes know of those alone.
    hard boolean NOT NULL DEFAULT false,
    on_store_outage text NOT NULL DEFAULT 'deny' CHECK (on_store_outage IN ('local', 'deny', 'open')),
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT budgets_on_one CHECK (num_nonnulls(agent_id, team_id) + whole_tenant::int = 1)
);
CREATE INDEX ON budgets (tenant_id, agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX ON budgets (tenant_id, team_id) WHERE team_id IS NOT NULL;
ALTER TABLE budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE budgets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budgets USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON budgets TO tollgate_app;

ALTER TABLE tenants
    -- The first of the three calendar years whose periods a policy has. A job moves it on, two days late, when no zone is
    -- in the year before any more.
    ADD COLUMN budget_year integer NOT NULL DEFAULT extract(year FROM (now() - interval '2 days') AT TIME ZONE 'UTC')::integer,
    -- When `policy_revision` last changed. What a policy has of things that end depends on this and not on the time at which
    -- it is compiled, so that all control planes compile the same.
    ADD COLUMN policy_revised_at timestamptz NOT NULL DEFAULT now();

-- One more with each batch of usage that has something of the tenant, by which control planes know that sums have changed.
-- Read for all tenants at once, hence without row-level security.
CREATE TABLE usage_marks (
    tenant_id uuid PRIMARY KEY REFERENCES tenants,
    batches bigint NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE ON usage_marks TO tollgate_app;
