// An OpenID provider, `oidc-provider` as its authors ship it: people sign in to Tollgate through it, and what it answers
// to a wrong request is compared with what Tollgate answers.
//
// Its only argument is JSON: {"port", "accounts": [{"sub", …claims}], "clients": [RFC 7591 metadata with id and secret],
// "resource": {"url", "scope"}, "documents": whether clients may be known by metadata documents, "tls": {"key", "cert"},
// "life": seconds that the tokens of clients live}, of which the last four may be missing. It prints `listening`.
//
// Whoever sits in front of it is asked which account to use: one button each, and one to refuse. `PUT /accounts` with a
// JSON array is the administrator who changes people. `GET /requests` counts the requests to each path.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES, 'package.json'));
const { Provider, errors } = await import(modules.resolve('oidc-provider'));

const setup = JSON.parse(process.argv[2]);
const CLAIMS = { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] };

let { accounts } = setup;
const requests = {};
const issuer = `${setup.tls ? 'https' : 'http'}://127.0.0.1:${setup.port}`;

function signingKey(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg };
}

const provider = new Provider(issuer, {
  clients: setup.clients,
  jwks: { keys: [signingKey('rsa', { modulusLength: 2048 }, 'RS256'), signingKey('ec', { namedCurve: 'P-256' }, 'ES256')] },
  cookies: { keys: ['only for tests'] },
  claims: CLAIMS,
  // As the providers of companies do: the groups are in the id_token.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  // Tollgate is on this very machine, where the provider would not send a logout token by itself.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    registration: { enabled: true },
    clientIdMetadataDocument: setup.documents ? { enabled: true, ack: 'draft-02' } : { enabled: false },
    resourceIndicators: {
      enabled: Boolean(setup.resource),
      defaultResource: () => setup.resource.url,
      useGrantedResource: () => true,
      getResourceServerInfo: (context, url) => {
        if (url !== setup.resource.url) throw new errors.InvalidTarget();
        return { scope: setup.resource.scope, audience: url, accessTokenFormat: 'opaque' };
      },
    },
  },
  // Its own guard keeps it from this machine, where the documents of the stories are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  ttl: { ClientCredentials: setup.life ?? 600 },
  interactions: { url: (context, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: (context, client) => client.grantTypeAllowed('refresh_token'),
  findAccount: (context, sub) => {
    const claims = accounts.find((account) => account.sub === sub);
    return claims && { accountId: sub, claims: () => claims };
  },
  // Nobody is asked twice: choosing an account is consenting.
  loadExistingGrant: async ({ oidc }) => {
    const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope([...Object.keys(CLAIMS), 'offline_access'].join(' '));
    if (setup.resource) grant.addResourceScope(setup.resource.url, setup.resource.scope);
    await grant.save();
    return grant;
  },
});

function page(uid) {
  const buttons = accounts.map(({ sub, name }) => `<button name="account" value="${sub}">${name ?? sub}</button>`);
  return `<!doctype html><html lang="en"><title>Choose an account</title><form method="post" action="/interaction/${uid}">
    ${buttons.join('\n')}<button name="account" value="">Refuse</button></form></html>`;
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function interact(request, response, uid) {
  const { prompt } = await provider.interactionDetails(request, response);
  if (prompt.name === 'consent') {
    await provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true });
    return;
  }
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page(uid));
    return;
  }
  const accountId = new URLSearchParams(await body(request)).get('account');
  const result = accountId ? { login: { accountId } } : { error: 'access_denied', error_description: 'refused' };
  await provider.interactionFinished(request, response, result);
}

const serve = provider.callback();

function answer(request, response) {
  const { pathname } = new URL(request.url, issuer);
  const [, first, uid] = pathname.split('/');
  if (pathname === '/requests') {
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(requests));
  }
  requests[pathname] = (requests[pathname] ?? 0) + 1;
  if (first === 'interaction') {
    // A page that is opened too late, or by another browser.
    return interact(request, response, uid).catch((error) => response.writeHead(400).end(error.message));
  }
  if (first === 'accounts' && request.method === 'PUT') {
    return body(request).then((text) => {
      accounts = JSON.parse(text);
      response.writeHead(204).end();
    });
  }
  return serve(request, response);
}

const tls = setup.tls && { key: readFileSync(setup.tls.key), cert: readFileSync(setup.tls.cert) };
const server = tls ? https.createServer(tls, answer) : http.createServer(answer);
server.listen(setup.port, '127.0.0.1', () => console.log('listening'));
