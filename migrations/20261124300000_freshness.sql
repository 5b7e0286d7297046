-- How long a tenant is served while its data planes hear of no control plane, and how fast they enforce revocations.

ALTER TABLE tenants
    -- Absent: for ever. Zero: no longer than the lease.
    ADD COLUMN max_stale_s integer DEFAULT 3600 CHECK (max_stale_s >= 0),
    -- Whether tools that may destroy something are called once the lease has run out.
    ADD COLUMN stale_destructive boolean NOT NULL DEFAULT false;

ALTER TABLE data_planes
    -- How long its lease was when it was last seen; absent: it was not seen by a control plane that says.
    ADD COLUMN lease_ms bigint,
    -- What the control plane that it follows knows of how it enforces revocations.
    ADD COLUMN revocations jsonb;
