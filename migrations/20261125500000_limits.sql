-- Limits on more than an agent, and on more than requests.

ALTER TABLE limits
    ALTER COLUMN agent_id DROP NOT NULL,
    ADD COLUMN team_id uuid,
    ADD COLUMN user_id uuid,
    ADD COLUMN server_id uuid,
    -- A tool of that server, as the server names it.
    ADD COLUMN tool text,
    -- Of everything that the tenant does.
    ADD COLUMN whole_tenant boolean NOT NULL DEFAULT false,
    ALTER COLUMN requests_count DROP NOT NULL,
    ALTER COLUMN window_s DROP NOT NULL,
    ADD COLUMN tokens_count bigint CHECK (tokens_count BETWEEN 1 AND 4000000000),
    ADD COLUMN tokens_window_s integer CHECK (tokens_window_s BETWEEN 1 AND 86400),
    ADD COLUMN concurrency integer CHECK (concurrency > 0),
    -- What becomes of it while data planes cannot reach their counters.
    ADD COLUMN on_store_outage text NOT NULL DEFAULT 'local' CHECK (on_store_outage IN ('local', 'deny', 'open')),
    -- Whether data planes may take some of it in advance.
    ADD COLUMN leased boolean NOT NULL DEFAULT false,
    ADD FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
    ADD FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    ADD FOREIGN KEY (tenant_id, server_id) REFERENCES servers (tenant_id, id) ON DELETE CASCADE,
    ADD CONSTRAINT limits_on_one CHECK (
        num_nonnulls(agent_id, team_id, user_id, server_id) + whole_tenant::int = 1 AND (tool IS NULL OR server_id IS NOT NULL)),
    ADD CONSTRAINT limits_requests CHECK ((requests_count IS NULL) = (window_s IS NULL)),
    ADD CONSTRAINT limits_tokens CHECK ((tokens_count IS NULL) = (tokens_window_s IS NULL)),
    ADD CONSTRAINT limits_something CHECK (num_nonnulls(requests_count, tokens_count, concurrency) > 0);

CREATE INDEX ON limits (tenant_id, team_id) WHERE team_id IS NOT NULL;
CREATE INDEX ON limits (tenant_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX ON limits (tenant_id, server_id) WHERE server_id IS NOT NULL;
