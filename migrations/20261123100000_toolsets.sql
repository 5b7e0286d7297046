-- Toolsets: tools of several servers, offered as one endpoint.
CREATE TABLE toolsets (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);
ALTER TABLE toolsets ENABLE ROW LEVEL SECURITY;
ALTER TABLE toolsets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON toolsets USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON toolsets TO tollgate_app;

-- A server whose tools are in a toolset is not deleted.
CREATE TABLE toolset_tools (
    tenant_id uuid NOT NULL,
    toolset_id uuid NOT NULL,
    position integer NOT NULL,
    server_id uuid NOT NULL,
    -- As the server names it.
    tool text NOT NULL,
    -- As agents see it.
    name text NOT NULL CHECK (name ~ '^[A-Za-z0-9_.-]{1,64}$'),
    -- Empty: what the server says.
    description text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, toolset_id, position),
    UNIQUE (tenant_id, toolset_id, server_id, tool),
    UNIQUE (tenant_id, toolset_id, name),
    FOREIGN KEY (tenant_id, toolset_id) REFERENCES toolsets (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, server_id) REFERENCES servers (tenant_id, id)
);
CREATE INDEX ON toolset_tools (tenant_id, server_id);
ALTER TABLE toolset_tools ENABLE ROW LEVEL SECURITY;
ALTER TABLE toolset_tools FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON toolset_tools USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON toolset_tools TO tollgate_app;
