// The npm package `openai`, unmodified, against a running server. Environment: LEADLINE_BASE_URL (…/v1), LEADLINE_API_KEY, LEADLINE_MODEL,
// LEADLINE_BAD_KEY (set where keys are required). Run in the folder whose node_modules has it; prints "ok NAME" or "FAILED NAME: why".
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { OpenAI } = require("openai");
const { LEADLINE_BASE_URL: baseURL, LEADLINE_API_KEY: apiKey, LEADLINE_MODEL: model, LEADLINE_BAD_KEY: badKey } = process.env;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60000 });
const messages = [{ role: "user", content: "Hello, who are you?" }];
const greedy = { model, temperature: 0, seed: 1 };

async function rejects(promise, type, status, check = () => {}) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof type, `${error?.constructor?.name} is not ${type.name}: ${error}`);
    assert.equal(error.status, status);
    check(error);
    return;
  }
  assert.fail(`no ${type.name}`);
}

const tests = {
  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    assert.ok(ids.includes(model), ids.join());
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  async chat() {
    const answer = await client.chat.completions.create({ ...greedy, messages, max_tokens: 12 });
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.model, model);
    const [choice] = answer.choices;
    assert.equal(choice.message.role, "assistant");
    assert.equal(typeof choice.message.content, "string");
    assert.ok(["stop", "length"].includes(choice.finish_reason));
    const { usage } = answer;
    assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0 && usage.completion_tokens <= 12);
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
    assert.equal(typeof usage.prompt_tokens_details.cached_tokens, "number");
  },
  async chatStreamEqualsChat() {
    const whole = await client.chat.completions.create({ ...greedy, messages, max_tokens: 16 });
    const stream = await client.chat.completions.create({ ...greedy, messages, max_tokens: 16, stream: true,
                                                          stream_options: { include_usage: true } });
    let text = "", finish = null, usage = null, role = null;
    for await (const chunk of stream) {
      assert.equal(chunk.object, "chat.completion.chunk");
      if (chunk.usage) usage = chunk.usage;
      for (const choice of chunk.choices) {
        role ??= choice.delta.role;
        text += choice.delta.content ?? "";
        finish = choice.finish_reason ?? finish;
      }
    }
    assert.equal(role, "assistant");
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(finish, whole.choices[0].finish_reason);
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  },
  async streamHelper() {
    const runner = client.chat.completions.stream({ ...greedy, messages, max_tokens: 8 });
    assert.equal(typeof (await runner.finalContent()), "string");
  },
  async completionsTakeFourPromptForms() {
    const one = await client.completions.create({ ...greedy, prompt: "The capital of", max_tokens: 4 });
    assert.equal(one.object, "text_completion");
    const two = await client.completions.create({ ...greedy, prompt: ["The capital of", "Two and"], max_tokens: 4 });
    assert.deepEqual(two.choices.map((c) => c.index).sort(), [0, 1]);
    assert.equal(two.choices.find((c) => c.index === 0).text, one.choices[0].text);
    const ids = await client.completions.create({ ...greedy, prompt: [10, 11, 12], max_tokens: 4 });
    const lists = await client.completions.create({ ...greedy, prompt: [[10, 11, 12], [13, 14]], max_tokens: 4 });
    assert.equal(ids.choices.length, 1);
    assert.equal(lists.choices.find((c) => c.index === 0).text, ids.choices[0].text);
    assert.equal(lists.usage.prompt_tokens, 5);
  },
  async completionStream() {
    let text = "";
    const stream = await client.completions.create({ ...greedy, prompt: "The capital of", max_tokens: 6, stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
    const whole = await client.completions.create({ ...greedy, prompt: "The capital of", max_tokens: 6 });
    assert.equal(text, whole.choices[0].text);
  },
  async chatLogprobs() {
    const answer = await client.chat.completions.create({ ...greedy, messages, max_tokens: 5, logprobs: true, top_logprobs: 3 });
    const { content } = answer.choices[0].logprobs;
    assert.equal(content.length, answer.usage.completion_tokens);
    for (const token of content) {
      assert.ok(token.logprob <= 0 && Array.isArray(token.bytes));
      assert.equal(token.top_logprobs.length, 3);
      assert.ok(Math.abs(token.top_logprobs[0].logprob - token.logprob) < 1e-6);  // greedy: the token is the likeliest
    }
  },
  async stopString() {
    const free = await client.completions.create({ ...greedy, prompt: "One two three", max_tokens: 24 });
    const text = free.choices[0].text;
    const at = Math.min(4, text.length - 2);
    const stop = text.slice(at, at + 2);
    if (stop.length < 2) return;
    const cut = await client.completions.create({ ...greedy, prompt: "One two three", max_tokens: 24, stop: [stop] });
    assert.equal(cut.choices[0].text, text.slice(0, text.indexOf(stop)));
    assert.equal(cut.choices[0].finish_reason, "stop");
  },
  async twoChoicesAndSeeds() {
    const ask = { model, messages, max_tokens: 8, n: 2, temperature: 1, seed: 7 };
    const first = await client.chat.completions.create(ask), again = await client.chat.completions.create(ask);
    const texts = (answer) => answer.choices.sort((a, b) => a.index - b.index).map((c) => c.message.content);
    assert.deepEqual(first.choices.map((c) => c.index).sort(), [0, 1]);
    assert.deepEqual(texts(first), texts(again));
  },
  async abortOfAStream() {
    const stream = await client.chat.completions.create({ ...greedy, messages, max_tokens: 400, stream: true });
    let chunks = 0;
    for await (const chunk of stream) {
      if (chunk && ++chunks === 3) stream.controller.abort();
    }
    assert.ok(chunks >= 1);
    await client.models.list();  // the server is there for others
  },
  async unknownModelIs404() {
    await rejects(client.chat.completions.create({ model: "no-such-model", messages }), OpenAI.NotFoundError, 404,
                  (error) => assert.equal(error.code, "model_not_found"));
  },
  async wrongParameterIs400() {
    await rejects(client.chat.completions.create({ model, messages, temperature: -1 }), OpenAI.BadRequestError, 400,
                  (error) => assert.equal(error.param, "temperature"));
    await rejects(client.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError, 400,
                  (error) => assert.match(String(error.param), /^messages/));
    const tools = [{ type: "function", function: { name: "f", parameters: {} } }];
    await rejects(client.chat.completions.create({ model, messages, tools }), OpenAI.BadRequestError, 400,
                  (error) => assert.equal(error.param, "tools"));
  },
  async wrongKeyIs401() {
    if (!badKey) return;
    const other = new OpenAI({ baseURL, apiKey: badKey, maxRetries: 0 });
    await rejects(other.models.list(), OpenAI.AuthenticationError, 401);
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${String(error?.stack ?? error).replaceAll("\n", " | ").slice(0, 600)}`);
  }
}
process.exit(failed ? 1 : 0);
