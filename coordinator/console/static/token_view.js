// An answer as tokens: each shaded by its probability, with its alternatives on hover or focus. What speculation did to a
// token (layer, accepted) is shown when the server tells it in the token's entry, and is absent otherwise; where the KV of its
// context came from follows from the answer's usage, and from the token's place.

// A token of the page from an entry of the API's logprobs: short names, because these are kept in storage.
export function tokenOf(entry) {
  const token = { t: String(entry.token), p: Number(entry.logprob) };
  if (Array.isArray(entry.bytes)) token.b = entry.bytes;
  if (Array.isArray(entry.top_logprobs)) {
    token.a = entry.top_logprobs.slice(0, 5).map((other) => ({ t: String(other.token), p: Number(other.logprob) }));
  }
  if (Number.isInteger(entry.draft_layer)) token.l = entry.draft_layer;
  if (typeof entry.accepted === "boolean") token.ok = entry.accepted;
  return token;
}

const percent = (logprob) => {
  const value = 100 * Math.exp(logprob);
  return value >= 99.95 ? "100 %" : value >= 10 ? `${value.toFixed(0)} %` : value >= 0.1 ? `${value.toFixed(1)} %` : "< 0.1 %";
};

const visible = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·");

// Sources of context as the API names them, the nearest first; "compute" is what no tier held.
const SOURCES = ["compute", "device", "memory", "disk", "redis"];

// {source: tokens} of the prompt from usage, or undefined.
export function contextOf(usage) {
  const tiers = usage.prompt_tokens_details?.cached_by_tier;
  if (!tiers || !Number.isFinite(usage.prompt_tokens)) return undefined;
  const context = { compute: usage.prompt_tokens - (usage.prompt_tokens_details.cached_tokens ?? 0) };
  for (const source of SOURCES.slice(1)) if (tiers[source] > 0) context[source] = tiers[source];
  return context;
}

// Of the token at `place` of the answer: what the answer wrote before it was computed, too.
function contextText(context, place) {
  const parts = SOURCES.filter((source) => context[source] > 0 || (source === "compute" && place > 0));
  return parts.map((source) => `${context[source] + (source === "compute" ? place : 0)} ${source}`).join(", ");
}

function describe(token, context, place) {
  const lines = [`${visible(token.t)}  ${percent(token.p)}`];
  for (const other of token.a ?? []) {
    if (other.t !== token.t) lines.push(`${visible(other.t)}  ${percent(other.p)}`);
  }
  if (token.l !== undefined) lines.push(`drafted at layer ${token.l}`);
  if (token.ok !== undefined) lines.push(token.ok ? "draft accepted" : "draft rejected");
  if (context) lines.push(`context from ${contextText(context, place)}`);
  return lines.join("\n");
}

// Five shades: the less likely the token, the stronger.
function shade(logprob) {
  const p = Math.exp(logprob);
  return p >= 0.9 ? 0 : p >= 0.6 ? 1 : p >= 0.3 ? 2 : p >= 0.1 ? 3 : 4;
}

// Bytes of a character may be spread over tokens: such tokens show their bytes.
function tokenText(token) {
  if (!token.b) return token.t;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(token.b));
  } catch {
    return token.b.map((byte) => `‹${byte.toString(16).padStart(2, "0")}›`).join("");
  }
}

function renderToken(token, context, place) {
  const node = document.createElement("span");
  node.className = `token shade-${shade(token.p)}`;
  if (token.l !== undefined) node.classList.add("drafted");
  if (token.ok === false) node.classList.add("rejected");
  node.textContent = tokenText(token);
  node.title = describe(token, context, place);
  return node;
}

// The prompt as one bar: how much of its KV came from where.
function renderContext(context) {
  const bar = document.createElement("div");
  bar.className = "context";
  const text = `prompt from ${contextText(context, 0)}`;
  bar.title = text;
  for (const source of SOURCES.filter((one) => context[one] > 0)) {
    const piece = document.createElement("span");
    piece.className = `from-${source}`;
    piece.style.flexGrow = context[source];
    piece.textContent = `${source} ${context[source]}`;
    bar.append(piece);
  }
  return bar;
}

// The pieces of `tokens` in a box that the arrow keys walk: one stop of Tab for the whole answer.
export function renderTokens(tokens, context) {
  const box = document.createElement("div");
  box.className = "tokens";
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Tokens; arrow keys move between them");
  box.append(...tokens.map((token, place) => renderToken(token, context, place)));
  const detail = document.createElement("p");
  detail.className = "token-detail";
  detail.setAttribute("aria-live", "polite");
  const fragment = document.createDocumentFragment();
  if (context) fragment.append(renderContext(context));
  fragment.append(box, detail);
  let current = -1;
  const choose = (index) => {
    box.children[current]?.classList.remove("current");
    current = index;
    const node = box.children[current];
    node?.classList.add("current");
    node?.scrollIntoView({ block: "nearest" });
    detail.textContent = node ? node.title.replaceAll("\n", "   ") : "";
    if (node) detail.scrollIntoView({ block: "nearest" });
  };
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    choose(Math.min(box.children.length - 1, Math.max(0, current + step)));
  });
  box.addEventListener("click", (event) => {
    const index = [...box.children].indexOf(event.target);
    if (index >= 0) choose(index);
  });
  box.addEventListener("blur", () => choose(-1));
  return fragment;
}
