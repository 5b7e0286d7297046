// What a trial of an MCP endpoint does, whichever TypeScript SDK does it. compatibility.py says what comes in and what goes
// out.

import { readFileSync } from 'node:fs';

const PATIENCE_MS = 20_000;

export const request = JSON.parse(readFileSync(0, 'utf8'));
// What transports are opened with.
export const endpoint = [
  new URL(request.url),
  { requestInit: { headers: { Authorization: `Bearer ${request.token}` } } },
];

const textOf = (result) => result.content.filter((part) => part.type === 'text').map((part) => part.text).join('');
const within = (promise) => {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('nothing came')), PATIENCE_MS));
  return Promise.race([promise, late]);
};
const wrong = (error) => ({ error: `${error.name}: ${error.message}` });

// Tries everything and tells the facts. Where the SDKs differ, `sdk` says how it is done:
// connect(): connects, and returns the revision; hear(onQuestion, onUpdate): hears the server; call(step, onprogress): calls a
// tool; subscribe(uri, version): subscribes to a resource.
export async function tryOut(client, sdk) {
  let asked = 0;
  const updated = Promise.withResolvers();
  const answer = async () => {
    asked += 1;
    return { action: 'accept', content: request.content };
  };
  sdk.hear(answer, ({ params }) => updated.resolve(params.uri));
  const trials = {
    async tools() {
      const { tools } = await client.listTools();
      return { listed: tools.map((tool) => tool.name), text: textOf(await sdk.call(request.tool)) };
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
      await sdk.call(request.progress, (report) => reports.push(report));
      return { reports: reports.length };
    },
    async elicitation() {
      return { text: textOf(await sdk.call(request.elicitation)), asked };
    },
    async subscriptions() {
      const { uri, touch } = request.subscription;
      await sdk.subscribe(uri, facts.protocol_version);
      await sdk.call(touch);
      return { uri: await within(updated.promise) };
    },
  };
  const facts = {};
  try {
    facts.protocol_version = await sdk.connect();
    for (const [name, trial] of Object.entries(trials)) {
      facts[name] = await within(trial()).catch(wrong);
    }
  } catch (error) {
    Object.assign(facts, wrong(error));
  }
  process.stdout.write(JSON.stringify(facts));
  process.exit(0);
}
