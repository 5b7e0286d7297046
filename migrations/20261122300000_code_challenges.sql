-- Which agent's challenge it was, so that one that is sent in two authorizations is noticed. Codes from before have none.
ALTER TABLE authorization_codes ADD COLUMN agent_id uuid;
CREATE INDEX ON authorization_codes (tenant_id, agent_id, code_challenge);
