-- Grants to a role, and what must hold for a grant to count.

ALTER TABLE grants
    -- Of the user for whom an agent acts.
    ADD COLUMN role text CHECK (role IN ('owner', 'admin', 'operator', 'finance', 'viewer', 'none')),
    -- On the arguments of a call; all must hold.
    ADD COLUMN conditions jsonb NOT NULL DEFAULT '[]',
    -- In CIDR notation; none: from anywhere.
    ADD COLUMN networks text[] NOT NULL DEFAULT '{}';

ALTER TABLE grants DROP CONSTRAINT grants_check;
ALTER TABLE grants ADD CONSTRAINT grants_to_one CHECK (num_nonnulls(agent_id, team_id, role) = 1);

CREATE INDEX ON grants (tenant_id, role) WHERE role IS NOT NULL;
