-- The secrets of what Tollgate presents to servers, sealed with the master key: values of headers, a client secret or a
-- private key. Everything else about a credential is in the server's spec.
CREATE TABLE server_secrets (
    tenant_id uuid NOT NULL,
    server_id uuid NOT NULL,
    -- `header:` and the header in lower case, `client_secret` or `private_key`.
    name text NOT NULL,
    value_sealed bytea NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, server_id, name),
    FOREIGN KEY (tenant_id, server_id) REFERENCES servers (tenant_id, id) ON DELETE CASCADE
);
ALTER TABLE server_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE server_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON server_secrets USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON server_secrets TO tollgate_app;
