-- The document of the agent whose tokens were revoked: tokens name such an agent by that URL, so that one which is
-- made for the URL anew has to inherit the revocation.
ALTER TABLE revocations ADD COLUMN document_url text;
CREATE INDEX ON revocations (tenant_id, document_url) WHERE document_url IS NOT NULL;

ALTER TABLE tenants
    -- Within how many seconds after its redemption a code that comes again is a repetition and no theft.
    ADD COLUMN code_repetition_s integer NOT NULL DEFAULT 2 CHECK (code_repetition_s BETWEEN 0 AND 60),
    -- Whether the refresh tokens of clients that sign with keys of their own rotate as everybody's do.
    ADD COLUMN rotates_always boolean NOT NULL DEFAULT false;
