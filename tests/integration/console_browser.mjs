// Drives the web console in Chromium for console_test.py:   node console_browser.mjs SCENARIO URL
// Prints one JSON line per step; waits for a line on standard input where the test must act. Exit status 1: a check failed.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import path from "node:path";

const [scenario, url] = process.argv.slice(2);
const { PLAYWRIGHT_FOLDER, CHROMIUM, CONSOLE_KEY = "", SCREENSHOTS = "" } = process.env;
const { chromium } = createRequire(path.join(PLAYWRIGHT_FOLDER, "package.json"))("playwright-core");

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(step) {
  process.stdout.write(JSON.stringify({ step }) + "\n");
  await input.next();
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
const origin = new URL(url).origin;
const foreign = [];
const faults = [];

async function open({ dark = false, width = 1100, height = 760 } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light" });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith("data:")) foreign.push(request.url());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML|TrustedScript/i.test(message.text())) faults.push(message.text());
  });
  await page.goto(url);
  return page;
}

// The reference model's answers are short: asks the server not to end them, so that there is something to stop.
const asking = (page, more) =>
  page.route("**/v1/chat/completions", (route) => route.continue({ postData: JSON.stringify({ ...route.request().postDataJSON(), ...more }) }));
const makeEndless = (page) => asking(page, { ignore_eos: true });

async function send(page, text) {
  await page.locator("#prompt").fill(text);
  await page.locator("#prompt").press("Enter");
}
const answers = (page) => page.locator("article.assistant");
const idle = (page) => page.locator("#send").waitFor({ state: "visible" });
const ready = (page) => page.locator("#health", { hasText: /^ready$/ }).waitFor();
const shot = async (page, name) => {
  if (SCREENSHOTS) await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
};
// Until the answer being written is longer than that. Polled from here: the page's policy forbids evaluating strings in it.
async function streaming(page, characters) {
  for (let i = 0; i < 400; i++) {
    const text = await answers(page).last().locator(".body").textContent();
    if (text.length > characters) return;
    await page.waitForTimeout(25);
  }
  assert.fail("nothing was streamed");
}

const scenarios = {
  async chat() {
    const page = await open();
    await ready(page);
    await shot(page, "empty");
    await send(page, "What is the capital of France?");
    await idle(page);
    assert.equal(await answers(page).count(), 1);
    const first = await answers(page).locator(".body").innerText();
    assert.ok(first.trim().length > 0, "an empty answer");
    assert.match(await answers(page).locator(".foot").innerText(), /\d+ tokens · .*first after \d+ ms.*prompt \d+/);
    await send(page, "And of Italy?"); // the second turn carries the first
    await idle(page);
    assert.equal(await answers(page).count(), 2);
    await shot(page, "chat");
    await page.reload();
    assert.equal(await answers(page).count(), 2);
    assert.equal(await answers(page).first().locator(".body").innerText(), first);
    await ready(page);
    assert.match(await page.locator("#figures").innerText(), /running[^]*waiting[^]*tokens\/s/);
    await page.locator("#new-chat").click();
    await page.reload();
    assert.equal(await answers(page).count(), 0);
  },

  async stop() {
    const page = await open();
    await ready(page);
    await makeEndless(page);
    await send(page, "Tell me a long story.");
    await streaming(page, 20);
    assert.equal(await page.locator("#send").isVisible(), false);
    await page.keyboard.press("Escape");
    await idle(page);
    assert.match(await answers(page).locator(".foot").innerText(), /^stopped/);
    const kept = await answers(page).locator(".body").innerText();
    assert.ok(kept.length > 20);
    await page.locator("#figures", { hasText: /running\s*0/ }).waitFor(); // the server stopped, too
    await send(page, "Again.");
    await streaming(page, 20);
    await page.locator("#stop").click();
    await idle(page);
    await send(page, "And over a reload.");
    await streaming(page, 20);
    await page.reload();
    assert.equal(await answers(page).count(), 3);
    assert.match(await answers(page).last().locator(".foot").innerText(), /^stopped/);
    assert.equal(await answers(page).first().locator(".body").innerText(), kept);
  },

  async tokens() {
    const page = await open();
    await ready(page);
    await page.locator("#tokens").click();
    await send(page, "What is the capital of France?");
    await idle(page);
    const tokens = page.locator(".token");
    assert.ok((await tokens.count()) > 0);
    assert.match(await tokens.first().getAttribute("title"), /%/);
    await page.locator(".tokens").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    assert.match(await page.locator(".token-detail").innerText(), /%/);
    assert.doesNotMatch(await page.locator(".tokens").innerHTML(), /drafted/); // the server tells no layers: none are shown
    await shot(page, "tokens");
    await page.locator("#tokens").click();
    assert.equal(await page.locator(".token").count(), 0);
  },

  // Fields of servers that speculate: shown when they are there.
  async fields() {
    const page = await open();
    await page.route("**/v1/chat/completions", (route) => {
      const entry = { token: "Hi", logprob: -0.2, bytes: [72, 105], top_logprobs: [], draft_layer: 4, accepted: true };
      const usage = { prompt_tokens: 100, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 96, cached_by_tier: { device: 32, memory: 0, disk: 64, redis: 0 } } };
      const events = [
        { choices: [{ index: 0, delta: { content: "Hi" }, logprobs: { content: [entry] }, finish_reason: null }] },
        { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
        { choices: [], usage },
      ];
      const body = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("") + "data: [DONE]\n\n";
      return route.fulfill({ status: 200, contentType: "text/event-stream", body });
    });
    await page.route("**/v1/leadline/status", async (route) => {
      const response = await route.fetch();
      const status = { ...(await response.json()), speculation: { acceptance: 0.75, mean_exit_layer: 6.5 }, kv_tiers: { disk: 0.5 } };
      return route.fulfill({ response, json: status });
    });
    await page.reload();
    await ready(page);
    await page.locator("#tokens").click();
    await send(page, "Hello");
    await idle(page);
    assert.match(await page.locator(".token").getAttribute("title"), /drafted at layer 4\ndraft accepted\ncontext from 4 compute, 32 device, 64 disk/);
    await page.locator("#figures", { hasText: /accepted\s*75 %\s*exit layer\s*6\.5\s*disk\s*50 %/ }).waitFor();
  },

  // A real server with drafts and tiers: the strip and every token tell what it did. CONSOLE_TIER: where the context must have come from.
  async engine() {
    const tier = process.env.CONSOLE_TIER;
    for (const [name, options] of Object.entries({ light: {}, dark: { dark: true }, narrow: { width: 360, height: 740 } })) {
      const page = await open(options);
      await ready(page);
      await asking(page, { speculation: { mode: "static" } }); // the guard may find that this small model had better not draft
      await page.locator("#tokens").click();
      await page.locator("#settings-button").click();
      await page.locator("#temperature").fill("0");
      await page.locator("#settings-button").click();
      await send(page, "Nils lives in Lima and works as a plumber. Irene lives in Oslo and works as a baker. Zoe lives in Rome. ".repeat(6) + "Where does Nils live?");
      await idle(page);
      const titles = await page.locator(".token").evaluateAll((tokens) => tokens.map((token) => token.title));
      assert.ok(titles.length > 1);
      assert.ok(titles.every((title) => /context from \d+ compute/.test(title)), titles[0]);
      if (tier && name === "light") assert.match(titles[0], new RegExp(`\\d+ ${tier}`));
      assert.ok(titles.some((title) => /drafted at layer \d+\ndraft (accepted|rejected)/.test(title)), titles.join("; "));
      await page.locator("#figures", { hasText: /accepted\s*\d+ %\s*exit layer\s*[\d.]+/ }).waitFor();
      if (tier) await page.locator("#figures", { hasText: new RegExp(`${tier}\\s*\\d+ %`) }).waitFor();
      await page.locator(".tokens").focus();
      for (let i = 0; i < titles.findIndex((title) => /accepted/.test(title)) + 1; i++) await page.keyboard.press("ArrowRight");
      assert.match(await page.locator(".token-detail").innerText(), /drafted at layer \d+/);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: wider than the window`);
      await shot(page, `engine-${tier ?? "first"}-${name}`);
    }
  },

  // Text of a model stays text, whatever it holds.
  async hostile() {
    const page = await open();
    const text =
      '<img src=x onerror="window.broken=1"> **bold** `x<y` [link](https://example.com/a) [bad](javascript:alert(1))\n\n' +
      "<script>window.broken=1</script>\n\n- one\n- two\n\n1. first\n2. second\n\n> quoted\n\n## Title\n\n```html\n<b>code</b>\n```\n\nend";
    await page.route("**/v1/chat/completions", (route) => {
      const body = [...text].map((c) => `data: ${JSON.stringify({ choices: [{ delta: { content: c } }] })}\n\n`).join("");
      return route.fulfill({ status: 200, contentType: "text/event-stream", body: body + "data: [DONE]\n\n" });
    });
    await ready(page);
    await send(page, "<b>mine</b>");
    await idle(page);
    const body = answers(page).locator(".body");
    assert.equal(await body.locator("img, script, b").count(), 0);
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.equal(await page.locator("article.user .body").innerText(), "<b>mine</b>");
    assert.equal(await body.locator("strong").innerText(), "bold");
    assert.equal(await body.locator("pre code").innerText(), "<b>code</b>");
    assert.deepEqual(await body.locator("li").allInnerTexts(), ["one", "two", "first", "second"]);
    assert.deepEqual(await body.locator("a").evaluateAll((links) => links.map((a) => [a.href, a.rel])),
      [["https://example.com/a", "noopener noreferrer"]]);
    await shot(page, "markdown");
  },

  async key() {
    const page = await open();
    const dialog = page.locator("#key-dialog");
    await dialog.waitFor();
    assert.match(await dialog.innerText(), /asks for a key/);
    await shot(page, "key");
    await page.locator("#key").fill("a-wrong-key");
    await page.keyboard.press("Enter");
    await page.locator("#key-text", { hasText: "refused" }).waitFor();
    await dialog.waitFor();
    await page.locator("#key").fill(CONSOLE_KEY);
    await page.keyboard.press("Enter");
    await ready(page);
    await page.locator("#model option").first().waitFor({ state: "attached" });
    await send(page, "Hello");
    await idle(page);
    assert.equal(await answers(page).count(), 1);
    assert.equal(await page.evaluate((key) => JSON.stringify({ ...localStorage }).includes(key), CONSOLE_KEY), false);
    await page.reload(); // same tab: the key is kept
    await ready(page);
    assert.equal(await dialog.isVisible(), false);
    const other = await open(); // another tab asks again
    await other.locator("#key-dialog").waitFor();
  },

  async gone() {
    const page = await open();
    await ready(page);
    await makeEndless(page);
    await send(page, "Tell me a long story.");
    await streaming(page, 20);
    await ask("kill");
    await page.locator("article.assistant .foot.bad").waitFor();
    assert.match(await answers(page).locator(".foot").innerText(), /broke off.*connection was lost/);
    await page.locator("#health", { hasText: "unreachable" }).waitFor();
    await shot(page, "gone");
    await ask("gone");
    await ready(page);
    await page.locator("#notice").waitFor({ state: "hidden" });
    await page.unroute("**/v1/chat/completions");
    await page.locator(".retry").click();
    await idle(page);
    assert.equal(await answers(page).count(), 1);
    assert.doesNotMatch(await answers(page).locator(".foot").innerText(), /broke off/);
  },

  async looks() {
    for (const [name, options] of Object.entries({
      desktop: {}, dark: { dark: true }, narrow: { width: 360, height: 640 }, "narrow-dark": { width: 360, height: 640, dark: true },
    })) {
      const page = await open(options);
      await ready(page);
      await page.locator("#tokens").click();
      await send(page, "What is the capital of France?");
      await idle(page);
      await page.locator("#tokens").click();
      await send(page, "And of Italy?");
      await idle(page);
      await page.locator("#tokens").click();
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: wider than the window`);
      await shot(page, name);
      await page.locator("#settings-button").click();
      assert.ok(await page.locator("#settings").isVisible());
      await shot(page, `${name}-settings`);
    }
    // The keyboard reaches everything.
    const page = await open();
    await ready(page);
    const reached = new Set();
    await page.locator("body").press("Tab");
    for (let i = 0; i < 20; i++) {
      reached.add(await page.evaluate(() => document.activeElement.id));
      await page.keyboard.press("Tab");
    }
    for (const id of ["model", "tokens", "settings-button", "new-chat", "log", "prompt", "send"]) assert.ok(reached.has(id), id);
  },
};

let status = 0;
try {
  await scenarios[scenario]();
  assert.deepEqual(foreign, [], "requests to other hosts");
  assert.deepEqual(faults, [], "faults of the page");
} catch (error) {
  console.error(error);
  status = 1;
  const pages = browser.contexts().flatMap((context) => context.pages());
  for (const page of pages) await shot(page, `failed-${scenario}`).catch(() => {});
}
await browser.close();
process.exit(status);
