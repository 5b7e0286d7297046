// Drives an MCP endpoint with the official TypeScript SDK, unmodified.
//
// Standard input: {"url", "era": "legacy" | "auto", "token", "answer", "sample", "steps": [{"list": true}, {"call", "arguments"}]}.
// "answer" is what the user says when a tool asks, "sample" what the model says; both may be left out.
// Standard output: {"steps": [{"tools"} | {"text", "isError", "progress"} | {"error"}]}.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { Client, StreamableHTTPClientTransport } = modules('@modelcontextprotocol/client');

async function runStep(client, step) {
  if (step.list) {
    const { tools } = await client.listTools();
    return { tools: tools.map((tool) => tool.name) };
  }
  const progress = [];
  const result = await client.callTool(
    { name: step.call, arguments: step.arguments ?? {} },
    { onprogress: (report) => progress.push(report) },
  );
  const text = result.content.filter((part) => part.type === 'text').map((part) => part.text).join('');
  return { text, isError: Boolean(result.isError), progress };
}

async function run(request) {
  const negotiation = request.era === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
  const capabilities = {};
  if (request.answer) capabilities.elicitation = { form: {} };
  if (request.sample) capabilities.sampling = {};
  const client = new Client({ name: 'story', version: '1' }, { capabilities, ...negotiation });
  if (request.answer) client.setRequestHandler('elicitation/create', async () => request.answer);
  if (request.sample) {
    const content = { type: 'text', text: request.sample };
    client.setRequestHandler('sampling/createMessage', async () => ({ role: 'assistant', content, model: 'story' }));
  }
  const headers = { Authorization: `Bearer ${request.token}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(request.url), { requestInit: { headers } }));
  const steps = [];
  for (const step of request.steps) {
    try {
      steps.push(await runStep(client, step));
    } catch (error) {
      steps.push({ error: { name: error.name, message: error.message, code: error.code } });
    }
  }
  const protocolVersion = client.getNegotiatedProtocolVersion();
  await client.close();
  return { protocolVersion, steps };
}

const request = JSON.parse(readFileSync(0, 'utf8'));
const outcome = await run(request).catch((error) => ({ error: { name: error.name, message: error.message } }));
process.stdout.write(JSON.stringify(outcome));
process.exit(0);
