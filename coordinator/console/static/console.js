// The page: conversation, composer, settings, key dialog. Everything shown of a message is text nodes or markdown.js.

import { ApiError, getJson, getKey, setKey, streamChat } from "./api.js";
import { render } from "./markdown.js";
import { StatusStrip } from "./status_strip.js";
import { loadChat, loadSettings, saveChat, saveSettings } from "./store.js";
import { contextOf, renderTokens, tokenOf } from "./token_view.js";

const $ = (id) => document.getElementById(id);
const SAVE_EVERY_MS = 1000; // while an answer comes

const messages = loadChat();
const settings = loadSettings();
let running = null; // AbortController of the answer being written

// ---- conversation

const END_TEXT = {
  length: "cut at the longest allowed length",
  stopped: "stopped",
  lost: "broke off",
};

// " (device 64, disk 32)": where reused context came from, when not only from the device.
function tiersText(tiers) {
  const used = Object.entries(tiers ?? {}).filter(([, tokens]) => tokens > 0);
  if (used.every(([name]) => name === "device")) return "";
  return ` (${used.map(([name, tokens]) => `${name} ${tokens}`).join(", ")})`;
}

function figuresText(message) {
  const f = message.figures;
  if (!f) return "";
  const parts = [];
  if (f.tokens !== undefined) parts.push(`${f.tokens} tokens`);
  if (f.perSecond > 0) parts.push(`${f.perSecond.toFixed(f.perSecond < 10 ? 1 : 0)}/s`);
  if (f.firstMs !== undefined) parts.push(`first after ${Math.round(f.firstMs)} ms`);
  if (f.queueMs >= 1) parts.push(`queued ${Math.round(f.queueMs)} ms`);
  if (f.prompt !== undefined) parts.push(`prompt ${f.prompt}${f.cached > 0 ? `, ${f.cached} from cache${tiersText(f.tiers)}` : ""}`);
  if (f.drafted > 0) parts.push(`${f.accepted} of ${f.drafted} drafts right`);
  if (f.continuations > 0) parts.push(`moved to another worker ${f.continuations}×`);
  return parts.join(" · ");
}

function drawMessage(message, node) {
  const body = document.createElement("div");
  body.className = "body";
  if (message.role === "user") body.textContent = message.text;
  else if (message.tokens && settings.tokens) body.append(renderTokens(message.tokens, message.figures?.context));
  else body.append(render(message.text));
  const parts = [body];
  const foot = [END_TEXT[message.end], message.error, figuresText(message)].filter(Boolean).join(" · ");
  if (foot) {
    const line = document.createElement("p");
    line.className = message.end === "lost" ? "foot bad" : "foot";
    line.textContent = foot;
    if (message.end === "lost" && message === messages.at(-1)) line.append(" ", retryButton());
    parts.push(line);
  }
  node.classList.toggle("busy", message === messages.at(-1) && running !== null && message.role === "assistant");
  node.replaceChildren(...parts);
}

function retryButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet retry";
  button.textContent = "Try again";
  button.addEventListener("click", () => {
    if (running) return;
    messages.pop();
    drawAll();
    answer();
  });
  return button;
}

function appendMessage(message) {
  $("empty").hidden = true;
  const node = document.createElement("article");
  node.className = message.role;
  node.setAttribute("aria-label", message.role === "user" ? "You" : "Answer");
  $("log").append(node);
  drawMessage(message, node);
  return node;
}

function drawAll() {
  $("log").querySelectorAll("article").forEach((node) => node.remove());
  $("empty").hidden = messages.length > 0;
  messages.forEach(appendMessage);
  $("log").scrollTop = $("log").scrollHeight;
}

const isAtEnd = () => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 60;

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// ---- asking

function numberOf(id) {
  const text = $(id).value.trim();
  const value = Number(text);
  return text === "" || !Number.isFinite(value) ? undefined : value;
}

function requestBody() {
  const system = $("system").value.trim();
  const turns = messages.filter((message) => message.text !== "").map(({ role, text }) => ({ role, content: text }));
  const body = {
    model: $("model").value,
    messages: system ? [{ role: "system", content: system }, ...turns] : turns,
    stream: true,
    stream_options: { include_usage: true },
    temperature: numberOf("temperature"),
    top_p: numberOf("top-p"),
    max_completion_tokens: numberOf("max-tokens"),
    seed: numberOf("seed"),
  };
  if (settings.tokens) Object.assign(body, { logprobs: true, top_logprobs: 4 });
  return body; // undefined fields are left out by JSON
}

function take(event, message, started) {
  const choice = event.choices?.[0];
  const text = choice?.delta?.content ?? "";
  const figures = (message.figures ??= {});
  if (text && figures.firstMs === undefined) figures.firstMs = performance.now() - started;
  message.text += text;
  const entries = choice?.logprobs?.content;
  if (Array.isArray(entries)) (message.tokens ??= []).push(...entries.map(tokenOf));
  if (choice?.finish_reason) message.end = choice.finish_reason;
  if (event.usage) {
    figures.tokens = event.usage.completion_tokens;
    figures.prompt = event.usage.prompt_tokens;
    figures.cached = event.usage.prompt_tokens_details?.cached_tokens;
    figures.tiers = event.usage.prompt_tokens_details?.cached_by_tier;
    figures.context = contextOf(event.usage);
    figures.drafted = event.usage.speculation?.drafted;
    figures.accepted = event.usage.speculation?.accepted;
  }
  if (event.timings) {
    figures.queueMs = event.timings.queue_ms;
    figures.perSecond = event.timings.generated_per_second;
    figures.continuations = event.timings.continuations;
  }
}

async function answer() {
  notice("");
  const body = requestBody(); // before the empty answer joins the messages
  const message = { role: "assistant", text: "" };
  messages.push(message);
  const controller = new AbortController();
  setRunning(controller);
  const node = appendMessage(message);
  $("log").scrollTop = $("log").scrollHeight;
  const started = performance.now();
  let drawing = 0;
  let savedAt = started;
  const draw = () => {
    drawing = 0;
    const follow = isAtEnd();
    drawMessage(message, node);
    if (follow) $("log").scrollTop = $("log").scrollHeight;
  };
  try {
    for await (const event of streamChat(body, controller.signal)) {
      take(event, message, started);
      drawing ||= requestAnimationFrame(draw); // at most one drawing per frame, however fast tokens come
      if (performance.now() - savedAt > SAVE_EVERY_MS) {
        savedAt = performance.now();
        saveChat(messages);
      }
    }
  } catch (error) {
    fail(error, message);
  }
  cancelAnimationFrame(drawing);
  setRunning(null);
  if (messages.includes(message)) draw();
  saveChat(messages);
}

function fail(error, message) {
  if (error.name === "AbortError") {
    message.end = "stopped";
    return;
  }
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 0) strip.refresh(); // tells at once whether the server is there
  if (error.status === 401 || message.text === "") {
    messages.splice(messages.indexOf(message), 1); // nothing was answered: the question goes back for another try
    const question = messages.pop();
    if (question && $("prompt").value === "") $("prompt").value = question.text;
    drawAll();
    fitPrompt();
    if (error.status === 401) askKey();
    else notice(error.message);
    return;
  }
  message.end = "lost";
  message.error = error.message;
}

function setRunning(controller) {
  running = controller;
  $("send").hidden = controller !== null;
  $("stop").hidden = controller === null;
  $("log").setAttribute("aria-busy", String(controller !== null)); // read out when it is complete
}

function send() {
  const text = $("prompt").value.trim();
  if (!text || running) return;
  if (!$("model").value) {
    strip.refresh();
    return notice("The server has not told its models yet.");
  }
  $("prompt").value = "";
  fitPrompt();
  const message = { role: "user", text };
  messages.push(message);
  appendMessage(message);
  answer();
}

const stop = () => running?.abort();

// ---- server, models, key

async function loadModels() {
  let list;
  try {
    list = await getJson("v1/models");
  } catch (error) {
    if (error instanceof ApiError) return; // the strip tells it
    throw error;
  }
  const select = $("model");
  const chosen = select.value || settings.model;
  select.replaceChildren(...list.data.map(({ id }) => new Option(id, id)));
  if (list.data.some(({ id }) => id === chosen)) select.value = chosen;
}

function askKey() {
  if ($("key-dialog").open) return;
  $("key-text").textContent = getKey() ? "The server refused this key." : "This server asks for a key.";
  $("key").value = "";
  $("key-dialog").showModal();
}

const strip = new StatusStrip((state) => {
  if (state === "up") {
    notice("");
    loadModels();
  } else if (state === "key") {
    askKey();
  } else {
    notice("The server cannot be reached. Trying again; the conversation is kept.");
  }
});

// ---- controls

function fitPrompt() {
  const prompt = $("prompt");
  prompt.rows = 1;
  while (prompt.scrollHeight > prompt.clientHeight && prompt.rows < 10) prompt.rows++;
}

function bindSettings() {
  for (const id of ["system", "temperature", "top-p", "max-tokens", "seed"]) {
    $(id).value = settings[id] ?? "";
    $(id).addEventListener("change", () => {
      settings[id] = $(id).value;
      saveSettings(settings);
    });
  }
  $("model").addEventListener("change", () => {
    settings.model = $("model").value;
    saveSettings(settings);
  });
  $("tokens").setAttribute("aria-pressed", String(Boolean(settings.tokens)));
  $("tokens").addEventListener("click", () => {
    settings.tokens = !settings.tokens;
    saveSettings(settings);
    $("tokens").setAttribute("aria-pressed", String(settings.tokens));
    if (!running) drawAll();
  });
  $("settings-button").addEventListener("click", () => {
    $("settings").hidden = !$("settings").hidden;
    $("settings-button").setAttribute("aria-expanded", String(!$("settings").hidden));
  });
}

function bindKeyDialog() {
  $("change-key").addEventListener("click", askKey);
  $("key-cancel").addEventListener("click", () => $("key-dialog").close());
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey($("key").value.trim());
    $("key").value = "";
    $("key-dialog").close();
    strip.state = ""; // a second wrong key is told as well
    strip.refresh();
    $("prompt").focus();
  });
}

function bindComposer() {
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("prompt").addEventListener("input", fitPrompt);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $("stop").addEventListener("click", () => {
    stop();
    $("prompt").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("key-dialog").open) stop();
  });
  $("new-chat").addEventListener("click", () => {
    stop();
    messages.length = 0;
    saveChat(messages);
    drawAll();
    notice("");
    $("prompt").focus();
  });
  window.addEventListener("beforeunload", stop); // before the browser breaks the connection, which would look like a loss
  window.addEventListener("pagehide", () => {
    const last = messages.at(-1);
    if (running && last?.role === "assistant") last.end = "stopped"; // the answer ends with the page
    saveChat(messages);
  });
}

bindSettings();
bindKeyDialog();
bindComposer();
drawAll();
strip.refresh();
