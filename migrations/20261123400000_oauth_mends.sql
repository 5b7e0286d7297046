-- The document of the agent whose tokens were revoked: tokens name such an agent by that URL, so that one which is
-- made for the URL anew has to inherit the revocation.
ALTER TABLE revocations ADD COLUMN document_url text;
CREATE INDEX ON revocations (tenant_id, document_url) WHERE document_url IS NOT NULL;

ALTER TABLE tenants
    -- A code that is redeemed again ends its authorization however soon that is, and not only after the time in which
    -- clients repeat themselves.
    ADD COLUMN strict_code_reuse boolean NOT NULL DEFAULT false,
    -- The refresh tokens of clients that sign with keys of their own rotate as everybody's do.
    ADD COLUMN always_rotate_refresh_tokens boolean NOT NULL DEFAULT false;
