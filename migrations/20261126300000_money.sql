-- Price books: what calls cost. A book is a line of versions; `spec` here is the newest one.
CREATE TABLE price_books (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    UNIQUE (tenant_id, name)
);
ALTER TABLE price_books ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_books FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_books USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON price_books TO tollgate_app;

-- Every version that was ever published, also of books that were deleted: costs refer to them. What a version says never
-- changes; only when it ends is written once that is known.
CREATE TABLE price_book_versions (
    tenant_id uuid NOT NULL REFERENCES tenants,
    id uuid PRIMARY KEY,
    book_id uuid NOT NULL,
    book text NOT NULL,
    -- The book's revision that published it.
    version bigint NOT NULL,
    effective_from timestamptz NOT NULL,
    -- NULL: until another one. As `effective_from`: taken back before it was ever in force.
    effective_until timestamptz CHECK (effective_until >= effective_from),
    spec jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    published_by text NOT NULL,
    UNIQUE (tenant_id, book_id, version)
);
ALTER TABLE price_book_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_book_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_book_versions USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE (effective_until) ON price_book_versions TO tollgate_app;

-- One more with every change of a tenant's price books, by which those who keep them in memory know that they changed.
CREATE TABLE price_revisions (
    tenant_id uuid PRIMARY KEY REFERENCES tenants,
    revision bigint NOT NULL
);
ALTER TABLE price_revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_revisions USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON price_revisions TO tollgate_app;
