// Tries an MCP endpoint out with the TypeScript SDK of the line before 2, unmodified. compatibility.py says what comes in
// and what goes out; the era is always the legacy one.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { Client } = modules('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = modules('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { ElicitRequestSchema, ResourceUpdatedNotificationSchema } = modules('@modelcontextprotocol/sdk/types.js');

const PATIENCE_MS = 20_000;
const request = JSON.parse(readFileSync(0, 'utf8'));
const client = new Client({ name: 'trial', version: '1' }, { capabilities: { elicitation: {} } });

let asked = 0;
client.setRequestHandler(ElicitRequestSchema, async () => {
  asked += 1;
  return { action: 'accept', content: request.content };
});
const updated = Promise.withResolvers();
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => updated.resolve(params.uri));

const textOf = (result) => result.content.filter((part) => part.type === 'text').map((part) => part.text).join('');
const within = (promise) => {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('nothing came')), PATIENCE_MS));
  return Promise.race([promise, late]);
};

const trials = {
  async tools() {
    const { tools } = await client.listTools();
    return { listed: tools.map((tool) => tool.name), text: textOf(await client.callTool(request.tool)) };
  },
  async resources() {
    await client.listResources();
    const { contents } = await client.readResource({ uri: request.resource });
    return { text: contents[0].text };
  },
  async prompts() {
    await client.listPrompts();
    return { messages: (await client.getPrompt({ name: request.prompt })).messages.length };
  },
  async progress() {
    const reports = [];
    await client.callTool(request.progress, undefined, { onprogress: (report) => reports.push(report) });
    return { reports: reports.length };
  },
  async elicitation() {
    return { text: textOf(await client.callTool(request.elicitation)), asked };
  },
  async subscriptions() {
    const { uri, touch } = request.subscription;
    await client.subscribeResource({ uri });
    await client.callTool(touch);
    return { uri: await within(updated.promise) };
  },
};

const wrong = (error) => ({ error: `${error.name}: ${error.message}` });

async function run() {
  const headers = { Authorization: `Bearer ${request.token}` };
  const transport = new StreamableHTTPClientTransport(new URL(request.url), { requestInit: { headers } });
  await client.connect(transport);
  const facts = { protocol_version: transport.protocolVersion };
  for (const [name, trial] of Object.entries(trials)) {
    facts[name] = await within(trial()).catch(wrong);
  }
  return facts;
}

process.stdout.write(JSON.stringify(await run().catch(wrong)));
process.exit(0);
