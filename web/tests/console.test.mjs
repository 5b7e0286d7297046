// The console as a person meets it: signing in, looking at every page, filling in its forms.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { accessibilityFaults, consoleUrl, launch, signIn, watchedPage } from './browser.mjs';

const pages = [
  ['Home', '/'],
  ['Servers', '/servers'],
  ['the catalog', '/catalog'],
  ['what waits in the catalog', '/catalog?server=demo&waiting=on'],
  ['Toolsets', '/toolsets'],
  ['a new toolset', '/new/toolset'],
  ['Usage & cost', '/usage'],
  ['Budgets', '/budgets'],
  ['a new budget', '/new/budget'],
  ['Price books', '/price-books'],
  ['a new price book', '/new/price-book'],
  ['Alerts', '/alerts'],
  ['Webhooks', '/webhooks'],
  ['a new webhook', '/new/webhook'],
  ['a server', '/servers/demo'],
  ['the form of a server', '/servers/demo/edit'],
  ['a new server', '/new/server'],
  ['removing a server', '/servers/demo/delete'],
  ['Agents', '/agents'],
  ['an agent', '/agents/demo-agent'],
  ['a new agent', '/new/agent'],
  ['Access', '/access'],
  ['a check of access', '/access/check?agent=demo-agent&server=demo&name=reset_counter'],
  ['a new grant', '/new/grant'],
  ['a limit', '/limits/calm'],
  ['a new limit', '/new/limit'],
  ['a new team', '/new/team'],
  ['Calls', '/calls'],
  ['Audit', '/audit'],
  ['Sessions', '/sessions'],
  ['Users', '/users'],
  ['Settings', '/settings'],
  ['Edit default', '/tenants/default/edit'],
  ['Signing keys', '/access/keys'],
  ['Waiting', '/waiting'],
  ['a new user', '/new/user'],
  ['a new identity provider', '/new/identity-provider'],
  ['the account', '/account'],
  ['a search', '/search?q=demo'],
];

let browser;
let state;

before(async () => {
  browser = await launch();
  ({ state } = await signIn(browser));
});

after(() => browser?.close());

describe('signing in', () => {
  test('the printed link works once and leads to Home', async () => {
    const context = await browser.newContext();
    const { page, complaints } = await watchedPage(context);
    await page.goto(process.env.PRINTED_SIGN_IN);
    assert.equal(new URL(page.url()).pathname, '/');
    assert.ok(!page.url().includes('token'), 'the address no longer holds the link');
    assert.match(await page.title(), /Home/);
    assert.deepEqual(complaints, []);
    await context.close();

    const late = await browser.newContext();
    const again = await late.newPage();
    const response = await again.goto(process.env.PRINTED_SIGN_IN);
    assert.equal(response.status(), 410);
    await late.close();
  });

  test('a stranger is sent to the sign-in page and back', async () => {
    const context = await browser.newContext();
    const { page, complaints } = await watchedPage(context);
    await page.goto(`${consoleUrl}/servers`);
    assert.equal(new URL(page.url()).pathname, '/sign-in');
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.fill('#email', 'nobody@example.com');
    await page.fill('#password', 'not the password');
    await page.click('main button, form[action="/sign-in"] button');
    assert.ok(await page.locator('[role=alert]').isVisible(), 'what is wrong is said');
    assert.deepEqual(complaints.filter((complaint) => !/401|403|422/.test(complaint)), []);
    await context.close();
  });
});

describe('every page', () => {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [360, 1280]) {
      test(`is without fault at ${width} px, ${colorScheme}`, async () => {
        const context = await browser.newContext({ storageState: state, colorScheme, viewport: { width, height: 800 } });
        const { page, complaints } = await watchedPage(context);
        const faults = [];
        for (const [name, path] of pages) {
          const response = await page.goto(consoleUrl + path);
          if (response.status() !== 200) faults.push(`${name}: status ${response.status()}`);
          if (!page.url().endsWith(path)) faults.push(`${name}: led to ${page.url()}`);
          faults.push(...(await accessibilityFaults(page)).map((fault) => `${name}: ${fault}`));
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          if (overflow > 0) faults.push(`${name}: ${overflow} px wider than the window`);
          faults.push(...(await page.evaluate(() => window.policyReports)).map((report) => `${name}: ${report}`));
        }
        assert.deepEqual([...faults, ...complaints], []);
        await context.close();
      });
    }
  }

  test('has strict headers', async () => {
    const context = await browser.newContext({ storageState: state });
    for (const [name, path] of pages) {
      const { headers } = await context.request.get(consoleUrl + path).then((answer) => ({ headers: answer.headers() }));
      const policy = headers['content-security-policy'] ?? '';
      assert.match(policy, /default-src 'none'/, name);
      assert.doesNotMatch(policy, /unsafe/, name);
      assert.match(policy, /frame-ancestors 'none'/, name);
      assert.equal(headers['cache-control'], 'no-store', name);
      assert.equal(headers['x-content-type-options'], 'nosniff', name);
      assert.equal(headers['referrer-policy'], 'no-referrer', name);
    }
    await context.close();
  });

  test('a page that does not exist says so', async () => {
    const context = await browser.newContext({ storageState: state });
    const page = await context.newPage();
    const response = await page.goto(`${consoleUrl}/servers/nowhere`);
    assert.equal(response.status(), 404);
    assert.deepEqual(await accessibilityFaults(page), []);
    await context.close();
  });
});

// The same path with and without scripting: a script only adds comfort.
for (const javaScriptEnabled of [true, false]) {
  const suffix = javaScriptEnabled ? 'with-script' : 'plain';
  describe(`the forms, ${suffix}`, () => {
    let context;
    let page;
    let complaints;

    before(async () => {
      context = await browser.newContext({ storageState: state, javaScriptEnabled });
      ({ page, complaints } = await watchedPage(context));
    });

    after(async () => {
      await context.close();
    });

    test('wrong input is shown at its field, and nothing is lost', async () => {
      await page.goto(`${consoleUrl}/new/server`);
      await page.fill('#name', 'Not A Name');
      await page.fill('#instances', 'this is no URL');
      await submit(page);
      assert.ok(await page.locator('#error-summary').isVisible());
      assert.equal(await page.locator('#name').getAttribute('aria-invalid'), 'true');
      await page.fill('#name', 'a-name');
      await submit(page);
      assert.equal(await page.locator('#name').getAttribute('aria-invalid'), null);
      assert.equal(await page.locator('#instances').getAttribute('aria-invalid'), 'true');
      assert.equal((await page.locator('#instances').inputValue()).trim(), 'this is no URL');
      if (javaScriptEnabled) assert.deepEqual(await accessibilityFaults(page), []);
    });

    test('a server is created and edited', async () => {
      await page.goto(`${consoleUrl}/new/server`);
      await page.fill('#name', `files-${suffix}`);
      await page.fill('#instances', 'http://127.0.0.1:9/mcp');
      await submit(page);
      assert.equal(new URL(page.url()).pathname, `/servers/files-${suffix}`);
      await page.goto(`${consoleUrl}/servers/files-${suffix}/edit`);
      await page.selectOption('#era', 'modern');
      await submit(page);
      assert.equal(new URL(page.url()).pathname, `/servers/files-${suffix}`);
      await page.goto(`${consoleUrl}/servers`);
      assert.ok(await page.getByRole('link', { name: `files-${suffix}` }).first().isVisible());
    });

    test('an agent is created, and its secret is shown once', async () => {
      await page.goto(`${consoleUrl}/new/agent`);
      await page.fill('#name', `robot-${suffix}`);
      const team = await page.locator('#team option').last().getAttribute('value');
      await page.selectOption('#team', team);
      await submit(page);
      assert.equal(new URL(page.url()).pathname, `/agents/robot-${suffix}`);
      await page.click(`form[action="/agents/robot-${suffix}/credentials"] button`);
      const shown = await page.locator('main').innerText();
      const secret = shown.match(/tgs_[\w-]+/)?.[0];
      assert.ok(secret, `no secret is shown: ${shown}`);
      await page.goto(`${consoleUrl}/agents/robot-${suffix}`);
      assert.ok(!(await page.content()).includes(secret), 'it is shown once');
    });

    test('the simulator says whether and why', async () => {
      await page.goto(`${consoleUrl}/access`);
      await page.selectOption('form[action="/access/check"] #agent', 'demo-agent');
      await page.selectOption('form[action="/access/check"] #server', 'demo');
      await page.fill('form[action="/access/check"] #name', 'reset_counter');
      await page.click('form[action="/access/check"] button');
      const answer = await page.locator('#answer').innerText();
      assert.match(answer, /refused/);
      assert.match(answer, /tool_not_granted/);
      await page.fill('#name', 'echo');
      await page.click('form[action="/access/check"] button');
      assert.match(await page.locator('#answer').innerText(), /allowed[^]*grant/i);
    });

    test('an agent\'s page says which tools it may use', async () => {
      await page.goto(`${consoleUrl}/agents/demo-agent`);
      const row = page.locator('section[aria-labelledby="matrix-title"] tr', { hasText: 'echo' }).first();
      assert.match(await row.innerText(), /allowed/);
    });

    test('a grant asks for what its choices need', async () => {
      await page.goto(`${consoleUrl}/new/grant`);
      assert.ok(await page.locator('#agent').isVisible());
      for (const field of ['#team', '#role', '#conditions', '#networks']) {
        assert.ok(!(await page.locator(field).isVisible()), field);
      }
      await page.selectOption('#to', 'to_role');
      await page.selectOption('#when', 'conditional_grant');
      assert.ok(!(await page.locator('#agent').isVisible()));
      await page.fill('#name', `viewers-may-${suffix}`);
      await page.selectOption('#role', 'viewer');
      await page.fill('#scopes', 'demo:add');
      await page.fill('#conditions', '/a range 0..10');
      await page.fill('#networks', '10.0.0.0/8');
      if (javaScriptEnabled) assert.deepEqual(await accessibilityFaults(page), []);
      await submit(page);
      await page.goto(`${consoleUrl}/access`);
      const row = await page.locator(`#grant-viewers-may-${suffix}`).innerText();
      assert.match(row, /role viewer/);
      assert.match(row, /\/a range 0\.\.10/);
      assert.match(row, /from 10\.0\.0\.0\/8/);
    });

    test('a grant is created and removed', async () => {
      await page.goto(`${consoleUrl}/new/grant`);
      await page.fill('#name', `robot-may-${suffix}`);
      await page.selectOption('#agent', { label: await labelWith(page, '#agent', `robot-${suffix}`) });
      await page.fill('#scopes', 'demo:echo');
      await submit(page);
      await page.goto(`${consoleUrl}/access`);
      assert.ok((await page.locator('main').innerText()).includes(`robot-may-${suffix}`));
      await page.goto(`${consoleUrl}/grants/robot-may-${suffix}/delete`);
      if (await page.locator('#confirm').count()) await page.fill('#confirm', `robot-may-${suffix}`);
      await submit(page);
      await page.goto(`${consoleUrl}/access`);
      assert.ok(!(await page.locator('main table, main ul').allInnerTexts()).join().includes(`robot-may-${suffix}`));
    });

    test('a call shows its decision', async () => {
      await page.goto(`${consoleUrl}/calls`);
      const text = await page.locator('main').innerText();
      assert.match(text, /echo/);
      assert.match(text, /allowed/i);
      const call = page.locator('main a[href^="/calls/"]').first();
      await call.click();
      assert.match(new URL(page.url()).pathname, /^\/calls\/[0-9a-f-]{36}$/);
    });

    test('nothing was complained about', () => {
      assert.deepEqual(complaints.filter((complaint) => !/status of 4\d\d/.test(complaint)), []);
    });
  });
}

// Last, because a new password ends every other session of its user.
test('a password is set, and signs in', async () => {
  const { state: own } = await signIn(browser);
  const context = await browser.newContext({ storageState: own });
  const { page } = await watchedPage(context);
  await page.goto(`${consoleUrl}/account`);
  const secret = 'a long enough pass phrase 7';
  for (const field of await page.locator('form[action="/account/password"] input[type=password]').all()) {
    await field.fill(secret);
  }
  await page.click('form[action="/account/password"] button');
  const email = (await page.locator('.menu-body strong').textContent()).trim();
  await context.close();

  const fresh = await browser.newContext();
  const door = await fresh.newPage();
  await door.goto(`${consoleUrl}/sign-in`);
  await door.fill('#email', email);
  await door.fill('#password', secret);
  await door.click('form[action="/sign-in"] button');
  assert.equal(new URL(door.url()).pathname, '/');
  await door.locator('.menu summary').click();
  await door.click('form[action="/sign-out"] button');
  await door.goto(`${consoleUrl}/servers`);
  assert.equal(new URL(door.url()).pathname, '/sign-in', 'signed out is signed out');
  await fresh.close();
});

async function submit(page) {
  await page.click('main form.form button:not([type=button])');
  await page.waitForLoadState();
}

// The full label of the option that names something.
async function labelWith(page, select, name) {
  const labels = await page.locator(`${select} option`).allInnerTexts();
  return labels.find((label) => label.includes(name)) ?? assert.fail(`no option names ${name}: ${labels}`);
}
