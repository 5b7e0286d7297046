-- An instance that drains gets no new work; the sessions that it holds go on.
ALTER TABLE server_instances ADD COLUMN draining boolean NOT NULL DEFAULT false;
