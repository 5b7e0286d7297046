-- Sign-in sessions: when their user last proved who they are, and which session at an identity provider they belong to.

-- What the provider says, where there is one; null when it does not say.
ALTER TABLE console_sessions ADD COLUMN proven_at timestamptz;

-- People who only allow agents to act for them use no console.
ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check
    CHECK (role IN ('owner', 'admin', 'operator', 'finance', 'viewer', 'none'));

-- The `sid` of the ID token that began a session (OpenID Connect Back-Channel Logout 1.0 section 2.1). Outlives the
-- session, because what was allowed in it does.
CREATE TABLE provider_sessions (
    tenant_id uuid NOT NULL,
    identity_provider_id uuid NOT NULL,
    sid text NOT NULL,
    session_digest bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, identity_provider_id, sid, session_digest),
    FOREIGN KEY (tenant_id, identity_provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON provider_sessions (tenant_id, user_id);
CREATE INDEX ON provider_sessions (tenant_id, created_at);
CREATE INDEX ON authorizations (tenant_id, session_digest);

-- Logout tokens that were used: the digest of provider and `jti`. Each counts once.
CREATE TABLE used_logout_tokens (
    tenant_id uuid NOT NULL REFERENCES tenants,
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest)
);
CREATE INDEX ON used_logout_tokens (tenant_id, expires_at);

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['provider_sessions', 'used_logout_tokens']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tollgate_app', owned);
    END LOOP;
END
$$;
