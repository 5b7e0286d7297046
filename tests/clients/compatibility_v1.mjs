// Tries an MCP endpoint out with the TypeScript SDK of the line before 2, unmodified. It knows the legacy era alone.

import { createRequire } from 'node:module';
import path from 'node:path';

import { endpoint, tryOut } from './trials.mjs';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { Client } = modules('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = modules('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { ElicitRequestSchema, ResourceUpdatedNotificationSchema } = modules('@modelcontextprotocol/sdk/types.js');

const client = new Client({ name: 'trial', version: '1' }, { capabilities: { elicitation: {} } });

await tryOut(client, {
  async connect() {
    const transport = new StreamableHTTPClientTransport(...endpoint);
    await client.connect(transport);
    return transport.protocolVersion;
  },
  hear(onQuestion, onUpdate) {
    client.setRequestHandler(ElicitRequestSchema, onQuestion);
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, onUpdate);
  },
  call: (step, onprogress) => client.callTool(step, undefined, { onprogress }),
  subscribe: (uri) => client.subscribeResource({ uri }),
});
