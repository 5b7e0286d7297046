// Tries an MCP endpoint out with the official TypeScript SDK, unmodified.

import { createRequire } from 'node:module';
import path from 'node:path';

import { endpoint, request, tryOut } from './trials.mjs';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { Client, StreamableHTTPClientTransport } = modules('@modelcontextprotocol/client');

const MODERN = '2026-07-28';
const modes = { modern: { pin: MODERN }, auto: 'auto' };
const negotiation = request.era in modes ? { versionNegotiation: { mode: modes[request.era] } } : {};
const client = new Client(
  { name: 'trial', version: '1' },
  { capabilities: { elicitation: { form: {} } }, ...negotiation },
);

await tryOut(client, {
  async connect() {
    await client.connect(new StreamableHTTPClientTransport(...endpoint));
    return client.getNegotiatedProtocolVersion();
  },
  hear(onQuestion, onUpdate) {
    client.setRequestHandler('elicitation/create', onQuestion);
    client.setNotificationHandler('notifications/resources/updated', onUpdate);
  },
  call: (step, onprogress) => client.callTool(step, { onprogress }),
  subscribe: (uri, version) =>
    version === MODERN ? client.listen({ resourceSubscriptions: [uri] }) : client.subscribeResource({ uri }),
});
