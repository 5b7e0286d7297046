-- Who may call itself a data plane. None of it belongs to a tenant: data planes serve all of them.

-- The authorities that certify both planes to each other. The newest one signs, all are trusted; an installation begins
-- with one. The private key is sealed with the master key.
CREATE TABLE certificate_authorities (
    id uuid PRIMARY KEY,
    certificate bytea NOT NULL,
    private_key_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON certificate_authorities TO tollgate_app;

-- What a data plane shows to join. Only the digest is kept.
CREATE TABLE enrollment_tokens (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    uses_left integer NOT NULL CHECK (uses_left >= 0)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON enrollment_tokens TO tollgate_app;

ALTER TABLE data_planes
    -- Absent until it is enrolled.
    ADD COLUMN enrolled_at timestamptz,
    -- The token that it joined with; absent for the one that control planes have in their settings.
    ADD COLUMN enrollment_token_id uuid,
    -- SHA-256 of the public key that was certified last.
    ADD COLUMN public_key_digest bytea,
    ADD COLUMN certificate_serial text,
    ADD COLUMN certificate_expires_at timestamptz,
    -- Never taken back: a data plane that was sent away comes back as another one.
    ADD COLUMN revoked_at timestamptz;

-- Bumped with every data plane that is revoked, so that control planes need not read the list to know it.
ALTER TABLE deployment ADD COLUMN data_planes_revoked bigint NOT NULL DEFAULT 0;
