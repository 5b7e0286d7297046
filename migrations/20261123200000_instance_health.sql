ALTER TABLE server_instances ADD UNIQUE (tenant_id, id);

-- How each data plane says that the instances of servers do. Written when it says something else than before; of a data
-- plane that is gone, rows are not shown and are removed after a while.
CREATE TABLE instance_health (
    tenant_id uuid NOT NULL,
    instance_id uuid NOT NULL,
    data_plane_id uuid NOT NULL,
    health text NOT NULL CHECK (health IN ('unknown', 'healthy', 'unhealthy', 'ejected', 'returning')),
    since timestamptz NOT NULL,
    -- As registered, else as found out; NULL: not known yet.
    era text CHECK (era IN ('legacy', 'modern')),
    protocol_version text,
    -- NULL: it answered.
    last_error text,
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, instance_id, data_plane_id),
    FOREIGN KEY (tenant_id, instance_id) REFERENCES server_instances (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE instance_health ENABLE ROW LEVEL SECURITY;
ALTER TABLE instance_health FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON instance_health USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON instance_health TO tollgate_app;
