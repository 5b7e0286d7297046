-- The audit log can be read: from where and in which request each change came, and by whom and to what.

ALTER TABLE audit_events
    -- The address of who did it; empty: it came from no request, or was written before this was.
    ADD COLUMN peer text NOT NULL DEFAULT '',
    -- As `X-Request-Id` has it; empty likewise.
    ADD COLUMN request_id text NOT NULL DEFAULT '';

CREATE INDEX ON audit_events (tenant_id, actor, at DESC);
CREATE INDEX ON audit_events (tenant_id, object_id, at DESC);
CREATE INDEX ON audit_events (tenant_id, object_name, at DESC);
