// An MCP server on the official TypeScript SDK: both eras on one endpoint, with the few things that clients try out.
//
//     node_server.mjs PORT        the endpoint is http://127.0.0.1:PORT/mcp
//
// Its tools, its prompt and its resource have the names that the reference server in tests/reference gives them.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { McpServer, createMcpHandler, fromJsonSchema, inputRequired, isLegacyRequest } = modules('@modelcontextprotocol/server');
const { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } = modules('@modelcontextprotocol/node');

const NOTE = 'test://static-text';
const FORM = {
  type: 'object',
  properties: { username: { type: 'string' }, email: { type: 'string' } },
  required: ['username', 'email'],
};

const said = (text) => ({ content: [{ type: 'text', text }] });

// Who hears of a resource: legacy sessions that subscribed; modern clients are told by the handler.
const sessions = new Map();

async function touch() {
  modern.notify.resourceUpdated(NOTE);
  for (const { server, uris } of sessions.values()) {
    if (uris.has(NOTE)) {
      await server.server.sendResourceUpdated({ uri: NOTE });
    }
  }
}

function build(uris = new Set()) {
  const server = new McpServer(
    { name: 'typescript-reference', version: '1.0.0' },
    { capabilities: { resources: { subscribe: true, listChanged: true } } },
  );
  const inputSchema = fromJsonSchema({ type: 'object', properties: {} });
  const tool = (name, description, run) => server.registerTool(name, { description, inputSchema }, run);
  tool('test_simple_text', 'Answers with a text', async () => said('This is a simple text, for tests.'));
  tool('test_tool_with_progress', 'Reports progress three times', async (_arguments, context) => {
    const progressToken = context.mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      await context.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
    }
    return said('Progress was reported.');
  });
  const asking = (name, description, question, say) =>
    tool(name, description, async (_arguments, context) => {
      const asked = context.mcpReq.inputResponses?.asked;
      return asked === undefined ? inputRequired({ inputRequests: { asked: question() } }) : said(say(asked));
    });
  asking(
    'test_elicitation',
    'Asks the user',
    () => inputRequired.elicit({ message: 'Who are you?', requestedSchema: FORM }),
    (answer) => `User response: action=${answer.action}, content=${JSON.stringify(answer.content)}`,
  );
  const prompt = { role: 'user', content: { type: 'text', text: 'Say something.' } };
  asking(
    'test_sampling',
    "Asks the client's model",
    () => inputRequired.createMessage({ messages: [prompt], maxTokens: 100 }),
    (answer) => `LLM response: ${[answer.content].flat().map((block) => block.text).join('')}`,
  );
  asking(
    'test_input_required_result_list_roots',
    "Asks for the client's folders",
    () => inputRequired.listRoots(),
    (answer) => `The client's folders: ${answer.roots.map((root) => root.uri)}`,
  );
  asking(
    'test_url_elicitation',
    'Asks the user to visit a page',
    () => inputRequired.elicitUrl({ message: 'Sign in.', url: 'https://example.com/sign-in' }),
    (answer) => `User response: action=${answer.action}`,
  );
  tool('test_touch_resource', 'Says that a resource changed', async () => {
    await touch();
    return said('Everyone was told.');
  });
  server.registerResource('Static text', NOTE, { mimeType: 'text/plain' }, async (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'The text of the static resource.' }],
  }));
  server.registerPrompt('test_simple_prompt', { description: 'A prompt as it is' }, async () => ({
    messages: [{ role: 'user', content: { type: 'text', text: 'A simple prompt, for tests.' } }],
  }));
  server.server.setRequestHandler('resources/subscribe', async ({ params }) => {
    uris.add(params.uri);
    return {};
  });
  server.server.setRequestHandler('resources/unsubscribe', async ({ params }) => {
    uris.delete(params.uri);
    return {};
  });
  return server;
}

const modern = createMcpHandler(() => build(), { legacy: 'reject' });
const serveModern = toNodeHandler(modern);

// Legacy clients have sessions, each with a server of its own.
async function serveLegacy(request, response, body) {
  const known = sessions.get(request.headers['mcp-session-id']);
  if (known) {
    return known.transport.handleRequest(request, response, body);
  }
  if (request.headers['mcp-session-id']) {
    response.writeHead(404).end();
    return undefined;
  }
  const uris = new Set();
  const server = build(uris);
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, { server, transport, uris }),
    onsessionclosed: (id) => sessions.delete(id),
  });
  await server.connect(transport);
  return transport.handleRequest(request, response, body);
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString();
  return text === '' ? undefined : JSON.parse(text);
}

createServer(async (request, response) => {
  const body = request.method === 'POST' ? await read(request) : undefined;
  if (await isLegacyRequest(await toWebRequest(request, body), body)) {
    await serveLegacy(request, response, body);
  } else {
    await serveModern(request, response, body);
  }
}).listen(Number(process.argv[2]), '127.0.0.1');
