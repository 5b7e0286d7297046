-- Servers of the oldest transport can be registered as such, so that nobody has to find out.
ALTER TABLE servers DROP CONSTRAINT servers_transport_check;
ALTER TABLE servers ADD CONSTRAINT servers_transport_check CHECK (transport IN ('streamable-http', 'sse'));
