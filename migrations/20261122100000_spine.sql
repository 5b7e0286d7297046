-- The first tables. Rules that hold for every later migration:
--   * a table that belongs to a tenant has `tenant_id`, a foreign key that includes it where it points at another
--     such table, and row-level security on `tollgate.tenant`, the setting that every tenant transaction makes;
--   * `spec` is what the client sent, word for word; the columns beside it are what it means;
--   * the application works as `tollgate_app`, which owns nothing and cannot bypass that security;
--   * forward only: expand, then contract.

DO $$
BEGIN
    CREATE ROLE tollgate_app NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- Membership lets the connecting role `SET ROLE`; a superuser needs none.
DO $$
BEGIN
    EXECUTE format('GRANT tollgate_app TO %I', current_user);
EXCEPTION
    WHEN OTHERS THEN NULL;
END
$$;

CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('tollgate.tenant', true), '')::uuid;

-- Exactly one row: what identifies this database.
CREATE TABLE deployment (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Revisions of another epoch do not compare; changed by hand after a restore from a backup.
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Sealed with the master key at first start: a control plane with another key refuses to run.
    canary bytea,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO deployment DEFAULT VALUES;

CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    display_name text NOT NULL DEFAULT '',
    access_token_ttl_s integer NOT NULL DEFAULT 900 CHECK (access_token_ttl_s BETWEEN 60 AND 86400),
    -- Networks in CIDR notation that servers may live in beside the public internet.
    egress_allow text[] NOT NULL DEFAULT '{}',
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    -- Bumped in the transaction of every change that data planes must see; the row lock makes its order commit order.
    policy_revision bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1
);

CREATE TABLE teams (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    cost_center text NOT NULL DEFAULT '',
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);

CREATE TABLE servers (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    transport text NOT NULL DEFAULT 'streamable-http' CHECK (transport IN ('streamable-http')),
    era text NOT NULL DEFAULT 'auto' CHECK (era IN ('auto', 'legacy', 'modern')),
    team_id uuid,
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id)
);

CREATE TABLE server_instances (
    tenant_id uuid NOT NULL,
    id uuid PRIMARY KEY,
    server_id uuid NOT NULL,
    position integer NOT NULL,
    url text NOT NULL,
    UNIQUE (tenant_id, server_id, url),
    FOREIGN KEY (tenant_id, server_id) REFERENCES servers (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE agents (
    tenant_id uuid NOT NULL REFERENCES tenants,
    -- Also the OAuth client_id, as `agt_…`.
    id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    team_id uuid NOT NULL,
    type text NOT NULL DEFAULT 'autonomous' CHECK (type IN ('autonomous')),
    auth_method text NOT NULL DEFAULT 'client_secret_basic'
        CHECK (auth_method IN ('client_secret_basic', 'client_secret_post')),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id)
);

-- Client secrets: 256 random bits each, so a plain SHA-256 is all that is kept. At most two at a time, for rotation.
CREATE TABLE agent_credentials (
    tenant_id uuid NOT NULL,
    id uuid PRIMARY KEY,
    agent_id uuid NOT NULL,
    digest bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON agent_credentials (tenant_id, agent_id);

CREATE TABLE grants (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    agent_id uuid,
    team_id uuid,
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    deny boolean NOT NULL DEFAULT false,
    expires_at timestamptz,
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    CHECK (num_nonnulls(agent_id, team_id) = 1),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON grants (tenant_id, agent_id);
CREATE INDEX ON grants (tenant_id, team_id);

CREATE TABLE limits (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    agent_id uuid NOT NULL,
    requests_count integer NOT NULL CHECK (requests_count > 0),
    window_s integer NOT NULL CHECK (window_s BETWEEN 1 AND 86400),
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON limits (tenant_id, agent_id);

CREATE TABLE users (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    email text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'finance', 'viewer')),
    -- argon2id in PHC form; absent until the user chooses a password.
    password_phc text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX ON users (tenant_id, lower(email));

-- ES256 keys that sign the tenant's tokens. The private half is sealed with the master key.
CREATE TABLE signing_keys (
    tenant_id uuid NOT NULL REFERENCES tenants,
    -- RFC 7638 thumbprint of the public key.
    kid text NOT NULL,
    public_jwk jsonb NOT NULL,
    private_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kid)
);

-- Audit of what people and programs changed, written in the transaction of the change.
CREATE TABLE audit_events (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    object_kind text NOT NULL,
    object_id text NOT NULL,
    object_name text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON audit_events (tenant_id, at DESC);

-- One row per call. The day comes from the UUIDv7, so that a repeated delivery meets the same row.
CREATE TABLE usage_records (
    tenant_id uuid NOT NULL REFERENCES tenants,
    event_day date NOT NULL,
    call_id uuid NOT NULL,
    at timestamptz NOT NULL,
    agent_id uuid,
    agent text NOT NULL DEFAULT '',
    team_id uuid,
    team text NOT NULL DEFAULT '',
    cost_center text NOT NULL DEFAULT '',
    server_id uuid,
    server text NOT NULL DEFAULT '',
    tool text NOT NULL DEFAULT '',
    method text NOT NULL DEFAULT '',
    protocol_version text NOT NULL DEFAULT '',
    outcome text NOT NULL,
    decision text NOT NULL,
    forwarded boolean NOT NULL,
    http_status integer NOT NULL,
    rpc_error_code bigint,
    input_bytes bigint NOT NULL,
    output_bytes bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    token_method text NOT NULL DEFAULT 'estimated',
    duration_us bigint NOT NULL,
    upstream_us bigint NOT NULL,
    trace_id text NOT NULL DEFAULT '',
    policy_revision bigint NOT NULL,
    data_plane_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_day, call_id)
) PARTITION BY RANGE (event_day);
CREATE TABLE usage_records_default PARTITION OF usage_records DEFAULT;
CREATE INDEX ON usage_records (tenant_id, at DESC, call_id DESC);

-- Requests that named no tenant that exists: nobody's, so visible to the platform only.
CREATE TABLE unattributed_requests (
    call_id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    decision text NOT NULL,
    http_status integer NOT NULL,
    data_plane_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- What data planes delivered and nobody could read: kept as it came, for a person to look at.
CREATE TABLE quarantined_records (
    data_plane_id uuid NOT NULL,
    position bigint NOT NULL,
    reason text NOT NULL,
    -- The `UsageRecord` message of `usage.proto`.
    payload bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (data_plane_id, position)
);

-- Data planes as they last reported themselves, and how far their usage is stored.
CREATE TABLE data_planes (
    id uuid PRIMARY KEY,
    version text NOT NULL DEFAULT '',
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    usage_position bigint NOT NULL DEFAULT 0
);

-- The last answer of each data plane to each tenant's policy.
CREATE TABLE policy_acknowledgements (
    data_plane_id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES tenants,
    acked_revision bigint NOT NULL DEFAULT 0,
    nacked_revision bigint,
    nack_reason text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (data_plane_id, tenant_id)
);

-- Looked up by digest before the tenant is known, hence without row-level security.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants,
    name text NOT NULL,
    digest bytea NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'finance', 'viewer')),
    -- Acts in every tenant, and on tenants themselves.
    platform boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    UNIQUE (tenant_id, name)
);

CREATE TABLE sign_in_links (
    digest bytea PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    consumed_at timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE console_sessions (
    digest bytea PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- Begun by a one-time link: then a forgotten password may be replaced without it.
    by_link boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['teams', 'servers', 'server_instances', 'agents', 'agent_credentials', 'grants',
                                 'limits', 'users', 'signing_keys', 'audit_events', 'usage_records']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_app', current_schema());
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO tollgate_app', current_schema());
END
$$;
-- What was audited or charged is never rewritten, and a tenant is never deleted by the application.
REVOKE UPDATE, DELETE ON audit_events, usage_records, unattributed_requests, quarantined_records FROM tollgate_app;
-- Row-level security guards the parent; a partition is reached through it only.
REVOKE ALL ON usage_records_default FROM tollgate_app;
REVOKE INSERT, DELETE ON deployment FROM tollgate_app;
REVOKE DELETE ON tenants FROM tollgate_app;
