-- The whole authorization server: agents that act for users, three ways to register, grant families with their codes
-- and refresh tokens, opaque access tokens, consent, revocations, key rotation, sign-in through OpenID providers.

ALTER TABLE tenants
    ADD COLUMN access_token_format text NOT NULL DEFAULT 'jwt' CHECK (access_token_format IN ('jwt', 'opaque')),
    -- How agents may register themselves: what `client_registration` of the spec means, defaults filled in.
    ADD COLUMN client_registration jsonb NOT NULL DEFAULT '{}',
    -- Accept only the issuer as the audience of a client assertion, not the token endpoint's URL (draft rfc7523bis).
    ADD COLUMN strict_assertion_audience boolean NOT NULL DEFAULT false,
    ADD COLUMN signing_key_rotation_s integer NOT NULL DEFAULT 7776000 CHECK (signing_key_rotation_s >= 7200),
    -- Whether people may sign in with a password; one-time links always work.
    ADD COLUMN local_sign_in boolean NOT NULL DEFAULT true,
    -- Unix seconds: every token issued before is void. So for agents and users below.
    ADD COLUMN tokens_valid_from bigint NOT NULL DEFAULT 0,
    -- Bumped in the transaction of every revocation; the row lock makes its order commit order.
    ADD COLUMN revocation_revision bigint NOT NULL DEFAULT 0;

ALTER TABLE agents
    DROP CONSTRAINT agents_type_check,
    DROP CONSTRAINT agents_auth_method_check,
    DROP CONSTRAINT agents_state_check,
    ADD CONSTRAINT agents_type_check CHECK (type IN ('autonomous', 'interactive')),
    ADD CONSTRAINT agents_auth_method_check
        CHECK (auth_method IN ('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none')),
    -- `waiting`: it registered itself and an operator has to approve it first.
    ADD CONSTRAINT agents_state_check CHECK (state IN ('active', 'suspended', 'waiting')),
    ADD COLUMN origin text NOT NULL DEFAULT 'admin' CHECK (origin IN ('admin', 'client_document', 'registration')),
    -- The `client_id` of an agent that is known by the URL of its metadata document; others have `agt_…`.
    ADD COLUMN document_url text,
    ADD COLUMN redirect_uris text[] NOT NULL DEFAULT '{}',
    ADD COLUMN grant_types text[] NOT NULL DEFAULT '{client_credentials}',
    -- RFC 7517 JWK Set, public members only; at most one of the two.
    ADD COLUMN jwks jsonb,
    ADD COLUMN jwks_uri text,
    -- The one algorithm of its assertions; any that the server takes when null.
    ADD COLUMN signing_alg text CHECK (signing_alg IN ('ES256', 'RS256', 'PS256', 'EdDSA')),
    -- What a client that registered itself said, as accepted (RFC 7591 section 2).
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
    -- SHA-256 of the canonical metadata: one public client however often it registers, and what consent was given to.
    ADD COLUMN metadata_digest bytea,
    ADD COLUMN metadata_fetched_at timestamptz,
    ADD COLUMN metadata_fresh_until timestamptz,
    -- RFC 7592 section 3: of the registration access token.
    ADD COLUMN registration_token_digest bytea UNIQUE,
    -- The first time a user allowed it something.
    ADD COLUMN confirmed_at timestamptz,
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN tokens_valid_from bigint NOT NULL DEFAULT 0,
    ADD CHECK (num_nonnulls(jwks, jwks_uri) <= 1),
    ADD CHECK ((origin = 'client_document') = (document_url IS NOT NULL));
CREATE UNIQUE INDEX ON agents (tenant_id, document_url);
-- Registering the same public client again finds it.
CREATE UNIQUE INDEX ON agents (tenant_id, metadata_digest) WHERE origin = 'registration' AND auth_method = 'none';

ALTER TABLE users
    ADD COLUMN team_id uuid,
    ADD COLUMN state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    ADD COLUMN tokens_valid_from bigint NOT NULL DEFAULT 0,
    ADD FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id);

-- One key signs (`active`), the next is published before it does, and what it signed is verified after (`retiring`).
ALTER TABLE signing_keys
    ADD COLUMN state text NOT NULL DEFAULT 'active' CHECK (state IN ('next', 'active', 'retiring', 'revoked')),
    ADD COLUMN published_at timestamptz NOT NULL DEFAULT now(),
    -- `tenants.policy_revision` from which on data planes know it: it signs once they have all acknowledged that.
    ADD COLUMN published_revision bigint NOT NULL DEFAULT 0,
    ADD COLUMN activated_at timestamptz,
    -- A retiring key is removed after this: everything it signed has expired.
    ADD COLUMN retired_at timestamptz;
CREATE UNIQUE INDEX ON signing_keys (tenant_id) WHERE state = 'active';
CREATE UNIQUE INDEX ON signing_keys (tenant_id) WHERE state = 'next';

CREATE TABLE identity_providers (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    issuer text NOT NULL,
    client_id text NOT NULL,
    client_secret_sealed bytea,
    labels jsonb NOT NULL DEFAULT '{}',
    -- Without the secret, which is write-only.
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);

-- Who a user is to a provider. An e-mail address links nobody: only issuer and subject do.
CREATE TABLE user_identities (
    tenant_id uuid NOT NULL,
    identity_provider_id uuid NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, identity_provider_id, subject),
    FOREIGN KEY (tenant_id, identity_provider_id) REFERENCES identity_providers (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON user_identities (tenant_id, user_id);

-- RFC 7591 section 3: what a client shows to be allowed to register, where the tenant asks for it.
CREATE TABLE initial_access_tokens (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    uses_left integer NOT NULL CHECK (uses_left >= 0)
);

-- What a user allowed an agent at one resource, to be remembered; `client_digest` tells when the client has changed.
CREATE TABLE consents (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    resource text NOT NULL,
    scopes text[] NOT NULL,
    client_digest bytea NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, agent_id, resource),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE
);

-- A grant family (`gid` of a token): everything that descends from one approval on the consent page.
CREATE TABLE authorizations (
    tenant_id uuid NOT NULL,
    id uuid PRIMARY KEY,
    agent_id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- Of the page that was answered: answering it twice makes no second one.
    transaction_id uuid NOT NULL UNIQUE,
    -- Digest of the sign-in session it was approved in.
    session_digest bytea NOT NULL,
    resources text[] NOT NULL CHECK (cardinality(resources) > 0),
    scopes text[] NOT NULL,
    authenticated_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_because text,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON authorizations (tenant_id, user_id, agent_id);
CREATE INDEX ON authorizations (tenant_id, agent_id);
CREATE INDEX ON authorizations (tenant_id, expires_at);

CREATE TABLE authorization_codes (
    tenant_id uuid NOT NULL,
    digest bytea PRIMARY KEY,
    authorization_id uuid NOT NULL,
    redirect_uri text NOT NULL,
    -- RFC 7636, method S256.
    code_challenge text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    consumed_at timestamptz,
    FOREIGN KEY (tenant_id, authorization_id) REFERENCES authorizations (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON authorization_codes (tenant_id, expires_at);

CREATE TABLE refresh_tokens (
    tenant_id uuid NOT NULL,
    digest bytea PRIMARY KEY,
    authorization_id uuid NOT NULL,
    -- The token it was exchanged for; none for the first of a family.
    parent_digest bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Idle end; the family has the absolute one.
    expires_at timestamptz NOT NULL,
    -- The first time it was used.
    consumed_at timestamptz,
    -- How often it was used again within the grace.
    reuses integer NOT NULL DEFAULT 0,
    FOREIGN KEY (tenant_id, authorization_id) REFERENCES authorizations (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON refresh_tokens (tenant_id, authorization_id);
CREATE INDEX ON refresh_tokens (parent_digest);
CREATE INDEX ON refresh_tokens (tenant_id, expires_at);

-- Opaque access tokens only: a JWT needs no row.
CREATE TABLE access_tokens (
    tenant_id uuid NOT NULL REFERENCES tenants,
    digest bytea PRIMARY KEY,
    jti uuid NOT NULL,
    -- None for client credentials.
    authorization_id uuid,
    agent_id uuid NOT NULL,
    user_id uuid,
    resource text NOT NULL,
    scope text NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, authorization_id) REFERENCES authorizations (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX ON access_tokens (tenant_id, expires_at);

-- Client assertions that were seen: `digest` is SHA-256 over client and `jti` (RFC 7523 section 3).
CREATE TABLE used_assertions (
    tenant_id uuid NOT NULL REFERENCES tenants,
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest)
);
CREATE INDEX ON used_assertions (tenant_id, expires_at);

-- What data planes must refuse though it looks good. Kept until everything it speaks of has expired by itself.
CREATE TABLE revocations (
    tenant_id uuid NOT NULL REFERENCES tenants,
    -- `tenants.revocation_revision` after the transaction.
    revision bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('token', 'grant_family', 'agent', 'user', 'tenant', 'key')),
    -- `jti`, `gid`, `agt_…`, `usr_…`, `tnt_…` or `kid`.
    subject text NOT NULL,
    -- Unix seconds, for agents, users and tenants: tokens with an earlier `iat` are void.
    issued_before bigint,
    reason text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, revision)
);
CREATE INDEX ON revocations (tenant_id, kind, subject);
CREATE INDEX ON revocations (tenant_id, expires_at);

-- For whom a call was made, where an agent acts for a user.
ALTER TABLE usage_records
    ADD COLUMN user_id uuid,
    ADD COLUMN user_email text NOT NULL DEFAULT '';

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['identity_providers', 'user_identities', 'initial_access_tokens', 'consents',
                                 'authorizations', 'authorization_codes', 'refresh_tokens', 'access_tokens',
                                 'used_assertions', 'revocations']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tollgate_app', owned);
    END LOOP;
END
$$;
