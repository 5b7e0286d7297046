// Authorizes with an official TypeScript SDK, unmodified, from a bare 401 on, and calls tools with what it got.
//
// Standard input, one line: {"sdk": "client" (the newer one) | "sdk",
//   "url":                                                        the MCP endpoint,
//   "client": {"document": URL, "key"?: PEM, "algorithm"?}        known by its metadata document,
//           | {"register": METHOD}                                registers itself,
//           | {"client_id", "client_secret"?, "method"}           was registered before, or
//           | {"client_id", "issuer", "client_secret" | "key" and "algorithm"}    acts for itself,
//   "redirect_port":                                              where it listens for the browser,
//   "steps": [{"list": true}, {"call", "arguments"}]}.
// Standard output, one JSON object per line: {"open": URL} whenever a person has to visit a page, in the end
// {"done": {"steps": [… as node_client.mjs has them], "client_id", "scope", "asked": [SCOPE]}}.

import { createRequire } from 'node:module';
import http from 'node:http';
import path from 'node:path';
import { createInterface } from 'node:readline';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));

function sdk(name) {
  if (name === 'client') return modules('@modelcontextprotocol/client');
  return {
    ...modules('@modelcontextprotocol/sdk/client/index.js'),
    ...modules('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    ...modules('@modelcontextprotocol/sdk/client/auth.js'),
    ...modules('@modelcontextprotocol/sdk/client/auth-extensions.js'),
  };
}

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// Hears where the browser was sent back to.
class Listener {
  #arrived = [];
  #waiting = [];

  listen(port) {
    this.server = http.createServer((request, response) => {
      response.end('close');
      const url = new URL(request.url, 'http://127.0.0.1');
      if (url.pathname !== '/callback') return;
      const waiting = this.#waiting.shift();
      if (waiting) waiting(url.searchParams);
      else this.#arrived.push(url.searchParams);
    });
    return new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
  }

  next() {
    const arrived = this.#arrived.shift();
    return arrived ? Promise.resolve(arrived) : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

// Keeps what the SDK wants kept, and sends the person to pages.
class Provider {
  asked = [];

  constructor(request, api) {
    const { client } = request;
    this.redirectUrl = `http://127.0.0.1:${request.redirect_port}/callback`;
    this.clientMetadata = {
      client_name: 'TypeScript story',
      redirect_uris: [this.redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: client.register ?? client.method ?? 'none',
    };
    if (client.document) this.clientMetadataUrl = client.document;
    if (client.client_id) {
      const { client_id, client_secret, method } = client;
      this.information = { client_id, client_secret, token_endpoint_auth_method: method };
    }
    if (client.key) {
      const identity = client.client_id ?? client.document;
      this.addClientAuthentication = api.createPrivateKeyJwtAuth({
        issuer: identity, subject: identity, privateKey: client.key, alg: client.algorithm,
      });
    }
  }

  state() {
    this.sentState = crypto.randomUUID();
    return this.sentState;
  }

  clientInformation() { return this.information; }
  saveClientInformation(information) { this.information = information; }
  tokens() { return this.kept; }
  saveTokens(tokens) { this.kept = tokens; }
  codeVerifier() { return this.verifier; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }

  redirectToAuthorization(url) {
    this.asked.push(url.searchParams.get('scope'));
    say({ open: url.href });
  }
}

function providerOf(request, api) {
  const { client } = request;
  if (!client.issuer) return new Provider(request, api);
  const options = { clientId: client.client_id, expectedIssuer: client.issuer };
  if (client.key) {
    return new api.PrivateKeyJwtProvider({ ...options, privateKey: client.key, algorithm: client.algorithm });
  }
  return new api.ClientCredentialsProvider({ ...options, clientSecret: client.client_secret });
}

async function runStep(client, step) {
  if (step.list) {
    const { tools } = await client.listTools();
    return { tools: tools.map((tool) => tool.name) };
  }
  const result = await client.callTool({ name: step.call, arguments: step.arguments ?? {} });
  const text = result.content.filter((part) => part.type === 'text').map((part) => part.text).join('');
  return { text, isError: Boolean(result.isError) };
}

async function run(request) {
  const api = sdk(request.sdk);
  const provider = providerOf(request, api);
  const listener = new Listener();
  await listener.listen(request.redirect_port);

  // What an application does when the SDK says that a person is needed.
  async function comeBack(transport) {
    const answer = await listener.next();
    if (provider.sentState !== answer.get('state')) throw new Error(`state ${answer.get('state')} was never sent`);
    if (!answer.has('code')) throw new Error(`the person came back with ${answer}`);
    await (request.sdk === 'client' ? transport.finishAuth(answer) : transport.finishAuth(answer.get('code')));
  }

  let client;
  let transport;
  async function connect() {
    client = new api.Client({ name: 'story', version: '1' });
    transport = new api.StreamableHTTPClientTransport(new URL(request.url), { authProvider: provider });
    await client.connect(transport);
  }

  async function withPerson(act) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof api.UnauthorizedError)) throw error;
      await comeBack(transport);
      return act();
    }
  }

  await withPerson(connect);
  const steps = [];
  for (const step of request.steps) {
    try {
      steps.push(await withPerson(() => runStep(client, step)));
    } catch (error) {
      steps.push({ error: { name: error.name, message: error.message, code: error.code } });
    }
  }
  const { client_id } = await provider.clientInformation();
  return { steps, client_id, scope: (await provider.tokens())?.scope, asked: provider.asked ?? [] };
}

const { value: line } = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();
const outcome = await run(JSON.parse(line)).catch((error) => ({
  error: { name: error.name, message: error.message, stack: error.stack },
}));
say({ done: outcome });
process.exit(0);
