-- What servers offer, as last seen and as approved.
ALTER TABLE servers
    ADD approval text NOT NULL DEFAULT 'trust' CHECK (approval IN ('trust', 'notify', 'pinned')),
    -- When a data plane is next asked what it offers.
    ADD catalog_due_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX ON servers (tenant_id, catalog_due_at);

CREATE TABLE catalog_items (
    tenant_id uuid NOT NULL,
    id uuid PRIMARY KEY,
    server_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('tool', 'prompt', 'resource', 'resource_template')),
    -- Name of a tool or prompt, URI of a resource, URI template.
    name text NOT NULL,
    -- As last seen, in its canonical form. As text: jsonb has not every character and every number that JSON has.
    definition text NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    -- What the server claims there.
    claims_read_only boolean NOT NULL,
    claims_additive boolean NOT NULL,
    -- Rule, place and excerpt of everything in it that looks like deceit.
    flags jsonb NOT NULL DEFAULT '[]',
    -- NULL: none was ever approved.
    approved_definition text,
    approved_digest bytea,
    -- What of its claims counts.
    read_only boolean NOT NULL DEFAULT false,
    additive boolean NOT NULL DEFAULT false,
    blocked boolean NOT NULL DEFAULT false,
    -- In force though nobody has looked at it, which somebody was to do.
    changed boolean NOT NULL DEFAULT false,
    -- What was in force before that; NULL: nothing.
    previous_definition text,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- Since when the server does not offer it any more.
    gone_at timestamptz,
    -- NULL: nobody has; what holds is what the server's approval says.
    decided_by text,
    decided_at timestamptz,
    state text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN blocked THEN 'blocked' WHEN digest = approved_digest THEN 'approved' ELSE 'pending' END) STORED,
    -- For somebody to decide, or to look at it.
    waiting boolean NOT NULL GENERATED ALWAYS AS (
        gone_at IS NULL AND NOT blocked AND (changed OR digest IS DISTINCT FROM approved_digest)) STORED,
    UNIQUE (tenant_id, server_id, kind, name),
    CHECK ((approved_definition IS NULL) = (approved_digest IS NULL)),
    FOREIGN KEY (tenant_id, server_id) REFERENCES servers (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON catalog_items (tenant_id) WHERE waiting;
ALTER TABLE catalog_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_items FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON catalog_items USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON catalog_items TO tollgate_app;

-- The latest reading of each of a server's lists.
CREATE TABLE catalog_reads (
    tenant_id uuid NOT NULL,
    server_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('tool', 'prompt', 'resource', 'resource_template')),
    data_plane_id uuid NOT NULL,
    read_at timestamptz NOT NULL DEFAULT now(),
    offered_count integer NOT NULL,
    refused_count integer NOT NULL,
    -- The first of them: place in the list, name if there is one, and why.
    refused jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant_id, server_id, kind),
    FOREIGN KEY (tenant_id, server_id) REFERENCES servers (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE catalog_reads ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_reads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON catalog_reads USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON catalog_reads TO tollgate_app;
