// A person in front of Chromium, who signs in and decides on the consent page.
//
// Standard input, one JSON object per line:
//   {"visit": URL, "until": URL                       where the way ends, without its query,
//    "email", "password"                              for Tollgate's own form,
//    "provider", "account"                            or which provider to sign in through, and as whom there,
//    "decision": "allow" | "deny", "untick": [SCOPE]  for the consent page}.
// Standard output, one line for each:
//   {"url":                                           where it ended: at `until`, or at a page that asks nothing,
//    "status", "text", "link"                         of that page: its text, and where its way back leads,
//    "consents": [{"text", "scopes": {SCOPE: ticked}}],   what the consent pages said,
//    "hosts": [HOST],                                 of every page on the way,
//    "complaints": [...]}                             what the browser did not like.
// One process is one browser profile: whoever signed in stays so.

import { createInterface } from 'node:readline';

import { launch } from '../../web/tests/browser.mjs';

const PAGES_MAX = 15;

const browser = await launch();
// The certificates of the test's own authority are not in the browser's store.
const context = await browser.newContext({ ignoreHTTPSErrors: true });

let page;
let complaints = [];

// Takes a new page for each way: what the last one still loads, if only the browser's own page about an address where
// nobody answers, would interrupt the next visit.
async function turn() {
  const last = page;
  page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on('pageerror', (error) => complaints.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) complaints.push(message.text());
  });
  await last?.close();
}

// Does what leads to another page, and waits until that is there.
async function leave(act) {
  const arrival = page.waitForEvent('framenavigated', (frame) => frame === page.mainFrame());
  await act();
  await arrival;
  await page.waitForLoadState();
}

async function signIn(order) {
  await page.fill('input[name=email]', order.email);
  await page.fill('input[name=password]', order.password);
  await leave(() => page.press('input[name=password]', 'Enter'));
}

// Whether the page asks for a decision that was ordered; one that only takes a refusal may end the way.
const decides = (order) => page.locator(`#consent button[name=decision][value=${order.decision}]`).count();
const provides = (order) => order.provider && ways(order).count();
const ways = (order) => page.locator('button, a').filter({ hasText: order.provider });

// Waits until a page that leads on by itself has done so.
async function moveOn(from, gone) {
  for (const end = Date.now() + 60_000; Date.now() < end && page.url() === from && !gone();) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function consent(order) {
  const form = page.locator('#consent');
  const scopes = {};
  for (const box of await form.locator('input[name=scope]').all()) {
    const scope = await box.getAttribute('value');
    const unticked = order.untick?.includes(scope);
    if (unticked) await box.uncheck();
    scopes[scope] = await box.isChecked();
  }
  const seen = { text: await page.locator('main, body').first().innerText(), scopes };
  await leave(() => form.locator(`button[name=decision][value=${order.decision}]`).click());
  return seen;
}

const link = () => page.locator('#return').first().getAttribute('href', { timeout: 100 }).catch(() => null);

async function follow(order) {
  await turn();
  complaints = [];
  const consents = [];
  const hosts = [];
  let status;
  let arrived;
  let leadsOn = false;
  const isNavigation = (request) => request.isNavigationRequest() && request.frame() === page.mainFrame();
  // Where the way ends there may be nobody to answer: a client that only reads the address.
  const onRequest = (request) => {
    const ends = request.url() === order.until || request.url().startsWith(`${order.until}?`);
    if (isNavigation(request) && ends) arrived = request;
  };
  const onResponse = (response) => {
    if (!isNavigation(response.request())) return;
    status = response.status();
    leadsOn = 'refresh' in response.headers();
  };
  page.on('request', onRequest);
  page.on('response', onResponse);
  await page.goto(order.visit).catch((error) => {
    if (!arrived) throw error;
  });
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    if (arrived) {
      // Whoever answers there hears of it.
      await arrived.response();
      return { url: arrived.url(), status, text: '', consents, hosts, complaints };
    }
    hosts.push(new URL(page.url()).host);
    if (leadsOn) await moveOn(page.url(), () => arrived);
    else if (await decides(order)) consents.push(await consent(order));
    else if (await provides(order)) await leave(() => ways(order).first().click());
    else if (order.email && await page.locator('input[name=password]').count()) await signIn(order);
    else if (await page.locator('button[name=account]').count()) {
      await leave(() => page.locator(`button[name=account][value="${order.account}"]`).click());
    } else return { url: page.url(), status, text: await page.innerText('body'), link: await link(), consents, hosts, complaints };
  }
  throw new Error(`no end after ${PAGES_MAX} pages, at ${page.url()}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const outcome = await follow(JSON.parse(line)).catch((error) => ({ error: error.message, url: page.url(), complaints }));
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
await browser.close();
