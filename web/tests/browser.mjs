// A Chromium that reports everything that goes wrong on a page.
//
// `CONSOLE_URL` is the control plane, `SIGN_IN_LINKS` one-time links (space separated), `TOLLGATE_TEST_MODULES` the
// folder where the packages of this folder's package.json are installed.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TOLLGATE_TEST_MODULES ?? import.meta.dirname, 'package.json'));
const { chromium } = modules('playwright-core');
const axeSource = modules.resolve('axe-core/axe.min.js');

export const consoleUrl = process.env.CONSOLE_URL;
const links = (process.env.SIGN_IN_LINKS ?? '').split(' ').filter(Boolean);

const launched = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

export async function launch() {
  assert.ok(launched, 'no Chromium is installed');
  return chromium.launch({
    executablePath: launched,
    timeout: 60_000,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    ],
  });
}

// A page whose every complaint is remembered: errors of scripts, of the console, of the security policy, of requests.
export async function watchedPage(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' || /Content Security Policy/.test(message.text())) {
      complaints.push(`console: ${message.text()}`);
    }
  });
  page.on('requestfailed', (request) => {
    // Leaving a page before all of it is there is no fault of the page.
    const why = request.failure()?.errorText;
    if (why !== 'net::ERR_ABORTED') complaints.push(`request failed: ${request.url()} ${why}`);
  });
  page.on('response', (response) => {
    const foreign = !response.url().startsWith(consoleUrl);
    if (foreign || response.status() >= 500) complaints.push(`${response.status()} ${response.url()}`);
  });
  await page.addInitScript(() => {
    window.policyReports = [];
    document.addEventListener('securitypolicyviolation', (event) => {
      window.policyReports.push(`${event.violatedDirective} ${event.blockedURI}`);
    });
  }).catch(() => {});
  return { page, complaints };
}

// Signs in with a link that nobody used, and keeps the session for later contexts.
export async function signIn(browser) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const link = links.shift();
  assert.ok(link, 'no sign-in link is left');
  await page.goto(link);
  assert.equal(new URL(page.url()).pathname, '/', 'a link leads to Home');
  const state = await context.storageState();
  await context.close();
  return { state, link };
}

// What axe-core finds, in words. Axe is evaluated by the debugger, so the page's policy does not see it.
export async function accessibilityFaults(page) {
  const session = await page.context().newCDPSession(page);
  const { readFileSync } = await import('node:fs');
  await session.send('Runtime.evaluate', { expression: readFileSync(axeSource, 'utf8') });
  const { result } = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
      .then((found) => JSON.stringify(found.violations.map((fault) =>
        fault.id + ': ' + fault.nodes.map((node) => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join(' | '))))`,
    awaitPromise: true,
    returnByValue: true,
  });
  await session.detach();
  return JSON.parse(result.value);
}
