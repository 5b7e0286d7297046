-- Keys that a tenant's data planes share, to seal what travels through agents and comes back. The secret is sealed with
-- the master key. The newest one seals, all of them open.
CREATE TABLE sealing_keys (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid NOT NULL,
    secret_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);
ALTER TABLE sealing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE sealing_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON sealing_keys USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON sealing_keys TO tollgate_app;
