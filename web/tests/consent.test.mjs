// The pages on which a user lets an application act for them, and the way back to it.
//
// `WEB_CLIENT` may come back to http://127.0.0.1/callback at any port, `APP_CLIENT` to com.example.editor:/callback, and
// `BARE_CLIENT` is granted nothing. All are of tenant `default`.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { accessibilityFaults, consoleUrl, launch, signIn, watchedPage } from './browser.mjs';

const SCHEME = 'com.example.editor:/callback';
const PASSWORD = 'a long enough pass phrase 8';

let browser;
let state;
let client;
let callback;
// Every request that came back to the client.
const arrived = [];

before(async () => {
  client = createServer((request, response) => {
    if (request.url.startsWith('/callback')) arrived.push(new URL(request.url, callback));
    response.end('<!doctype html><title>Back</title>');
  });
  await new Promise((listening) => { client.listen(0, '127.0.0.1', listening); });
  callback = `http://127.0.0.1:${client.address().port}/callback`;
  browser = await launch();
  ({ state } = await signIn(browser));
});

after(async () => {
  await browser?.close();
  client.close();
});

function ask(clientId, redirectUri, more = {}) {
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    state: 'a & b',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
    ...more,
  });
  return `${consoleUrl}/t/default/oauth/authorize?${query}`;
}

const web = (more) => ask(process.env.WEB_CLIENT, callback, more);

// What the browser complained of, but for the client's own pages, which are none of ours.
const ours = (complaints) => complaints.filter((complaint) => !complaint.includes(callback) && !/status of 4\d\d|favicon/.test(complaint));

async function open(options, url) {
  const context = await browser.newContext(options);
  const { page, complaints } = await watchedPage(context);
  await page.goto(url);
  return { context, page, complaints };
}

async function atClient(page) {
  await page.waitForURL((url) => url.href.startsWith(callback));
  return arrived.at(-1).searchParams;
}

describe('every page', () => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [360, 1280]) {
      test(`is without fault at ${width} px, ${colorScheme}`, async () => {
        const pages = [
          ['consent', web({ prompt: 'consent' }), '#consent button[value=allow]'],
          ['an app of the device', ask(process.env.APP_CLIENT, SCHEME, { prompt: 'consent' }), '#redirect-warning'],
          ['nothing granted', ask(process.env.BARE_CLIENT, callback), '#agent-name'],
          ['a fault', ask(process.env.WEB_CLIENT, 'https://elsewhere.example/'), 'main'],
          ['allowed applications', `${consoleUrl}/account/apps`, 'main'],
        ];
        const viewport = { width, height: 800 };
        const faults = [];
        for (const [name, url, there] of pages) {
          const { context, page, complaints } = await open({ storageState: state, colorScheme, viewport }, url);
          assert.ok(await page.locator(there).first().isVisible(), name);
          faults.push(...(await accessibilityFaults(page)).map((fault) => `${name}: ${fault}`));
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          if (overflow > 0) faults.push(`${name}: ${overflow} px wider than the window`);
          faults.push(...(await page.evaluate(() => window.policyReports)), ...ours(complaints));
          if (process.env.PICTURES) {
            await page.screenshot({ path: `${process.env.PICTURES}/${name} ${width} ${colorScheme}.png`, fullPage: true });
          }
          await context.close();
        }
        assert.deepEqual(faults, []);
      });
    }
  }
});

for (const javaScriptEnabled of [true, false]) {
  describe(javaScriptEnabled ? 'with a script' : 'without one', () => {
    const options = () => ({ storageState: state, javaScriptEnabled });

    test('who denies goes back without a code, by the Enter key alone', async () => {
      const { context, page, complaints } = await open(options(), web({ prompt: 'consent' }));
      assert.equal(await page.locator(':focus').getAttribute('value'), 'deny');
      await page.keyboard.press('Enter');
      const answer = await atClient(page);
      assert.equal(answer.get('error'), 'access_denied');
      assert.equal(answer.get('state'), 'a & b');
      assert.deepEqual(ours(complaints), []);
      await context.close();
    });

    test('who allows less comes back with a code', async () => {
      const { context, page, complaints } = await open(options(), web({ prompt: 'consent' }));
      await page.uncheck('input[name=scope][value="demo:add"]');
      await page.click('#consent button[name=decision][value=allow]');
      const answer = await atClient(page);
      assert.match(answer.get('code'), /^tgc_/);
      assert.equal(answer.get('state'), 'a & b');
      assert.equal(answer.get('iss'), `${consoleUrl}/t/default`);
      assert.deepEqual(ours(complaints), []);
      await context.close();
    });

    test('an app of the device is opened by a link', async () => {
      const { context, page, complaints } = await open(options(), ask(process.env.APP_CLIENT, SCHEME, { prompt: 'consent' }));
      await page.click('#consent button[name=decision][value=allow]');
      await page.waitForURL(/\/continue\?/);
      assert.match(await page.locator('#return').getAttribute('href'), /^com\.example\.editor:\/callback\?code=tgc_/);
      assert.deepEqual(ours(complaints), []);
      await context.close();
    });
  });
}

test('what was allowed before needs no page but the sign-in, from which the browser goes on to the client', async () => {
  const { context, page } = await open({ storageState: state }, web({ prompt: 'consent' }));
  await page.click('#consent button[name=decision][value=allow]');
  await atClient(page);
  await page.goto(`${consoleUrl}/account`);
  const email = (await page.locator('.menu-body strong').textContent()).trim();
  await page.fill('#new', PASSWORD);
  await page.click('form[action="/account/password"] button');
  state = await context.storageState();
  await context.close();

  const before = arrived.length;
  const stranger = await open({}, web());
  assert.match(await stranger.page.innerText('#wanted-by'), /wants to act for you/);
  await stranger.page.fill('input[name=email]', email);
  await stranger.page.fill('input[name=password]', PASSWORD);
  await stranger.page.press('input[name=password]', 'Enter');
  assert.match((await atClient(stranger.page)).get('code'), /^tgc_/);
  assert.equal(arrived.length, before + 1);
  assert.deepEqual(ours(stranger.complaints), []);
  await stranger.context.close();
});

test('what was allowed is taken back under the account', async () => {
  const { context, page } = await open({ storageState: state }, `${consoleUrl}/account/apps`);
  const rows = page.locator('main tbody tr');
  assert.ok(await rows.count() >= 2);
  while (await rows.count()) {
    const left = await rows.count();
    await rows.first().locator('button').click();
    await page.locator('dialog .danger').click();
    await page.waitForFunction((count) => document.querySelectorAll('main tbody tr').length < count, left);
  }
  await page.goto(web());
  assert.ok(await page.locator('#consent').isVisible(), 'it is asked again');
  await context.close();
});
