// The live strip: asks /v1/leadline/status once a second while the page is visible. figuresOf() is pure.

import { ApiError, getJson } from "./api.js";

const PERIOD_MS = 1000;
const SLOWEST_MS = 8000; // between attempts while the server is gone
const RATE_WINDOW_MS = 5000;

const count = (value) => (Number.isFinite(value) ? value.toLocaleString("en") : "?");

// Rows [name, text, explanation] from samples of the status, oldest first, newest last.
export function figuresOf(samples) {
  const now = samples.at(-1);
  const first = samples.find((sample) => sample.time_ms >= now.time_ms - RATE_WINDOW_MS) ?? now;
  const seconds = (now.time_ms - first.time_ms) / 1000;
  const made = now.tokens.generated_total - first.tokens.generated_total;
  const prompt = now.tokens.prompt_computed_total + now.tokens.prompt_cached_total;
  const rows = [
    ["running", count(now.requests.running), "answers being written"],
    ["waiting", count(now.requests.waiting), `waiting for a worker, of at most ${count(now.requests.max_waiting)}`],
    ["tokens/s", seconds > 0 && made >= 0 ? count(Math.round(made / seconds)) : "–", "written in the last 5 s, all users"],
    ["prompt reuse", prompt > 0 ? `${Math.round((100 * now.tokens.prompt_cached_total) / prompt)} %` : "–",
     "share of prompt tokens that came from the prefix cache since start"],
  ];
  // These come with servers that speculate and that keep KV pages in tiers; a server that does not tell them shows none.
  const speculation = now.speculation;
  if (Number.isFinite(speculation?.acceptance)) {
    rows.push(["accepted", `${Math.round(100 * speculation.acceptance)} %`, "drafted tokens that were right"]);
  }
  if (Number.isFinite(speculation?.mean_exit_layer)) {
    rows.push(["exit layer", speculation.mean_exit_layer.toFixed(1), "where tokens left the model, on average"]);
  }
  for (const [tier, share] of Object.entries(now.kv_tiers ?? {})) {
    if (Number.isFinite(share)) rows.push([tier, `${Math.round(100 * share)} %`, `share of context that came from ${tier}`]);
  }
  return rows;
}

function workerText(worker) {
  const name = `worker ${worker.worker}`;
  if (worker.state === "loading" && worker.total_bytes > 0) {
    return `${name}: loading ${Math.floor((100 * worker.loaded_bytes) / worker.total_bytes)} %`;
  }
  if (worker.state !== "ready") return `${name}: ${worker.state}`;
  const pages = worker.kv_pages_total > 0 ? `, ${Math.round((100 * worker.kv_pages_used) / worker.kv_pages_total)} % KV` : "";
  return `${name}: ${worker.in_flight} of ${worker.max_sequences}${pages}`;
}

export class StatusStrip {
  #samples = [];
  #failures = 0;
  #timer = 0;
  // onState("up" | "gone" | "key"): called when it changes.
  constructor(onState) {
    this.onState = onState;
    this.state = "";
    document.addEventListener("visibilitychange", () => this.refresh());
  }

  refresh() {
    clearTimeout(this.#timer);
    if (!document.hidden) this.#poll();
  }

  async #poll() {
    clearTimeout(this.#timer);
    try {
      this.#show(await getJson("v1/leadline/status"));
      this.#failures = 0;
      this.#become("up");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#samples = [];
      this.#failures++;
      this.#become(error.status === 401 ? "key" : "gone");
    }
    if (document.hidden || this.state === "key") return; // refresh() starts it again
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#poll(), Math.min(SLOWEST_MS, PERIOD_MS * 2 ** Math.min(3, this.#failures)));
  }

  #become(state) {
    const health = document.getElementById("health");
    if (state !== "up") {
      health.textContent = state === "key" ? "key needed" : "server unreachable";
      health.className = "pill bad";
      document.getElementById("figures").replaceChildren();
      document.getElementById("workers").replaceChildren();
    }
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }

  #show(status) {
    const last = this.#samples.at(-1);
    if (last && (status.time_ms < last.time_ms || status.tokens.generated_total < last.tokens.generated_total)) {
      this.#samples = []; // another process: its counters start anew
    }
    this.#samples.push(status);
    if (this.#samples.length > 16) this.#samples.shift();
    const figures = document.getElementById("figures");
    figures.replaceChildren(
      ...figuresOf(this.#samples).map(([name, text, explanation]) => {
        const pair = document.createElement("div");
        pair.title = explanation;
        const term = document.createElement("dt");
        term.textContent = name;
        const value = document.createElement("dd");
        value.textContent = text;
        pair.append(term, value);
        return pair;
      }),
    );
    const ready = status.workers.filter((worker) => worker.state === "ready").length;
    const health = document.getElementById("health");
    const text = status.draining ? "shutting down" : ready > 0 ? "ready" : "no worker ready";
    if (health.textContent !== text) health.textContent = text; // unchanged text is not read out again
    health.className = `pill ${status.draining || ready === 0 ? "warn" : "good"}`;
    document.getElementById("workers").replaceChildren(
      ...status.workers.slice(0, 16).map((worker) => {
        const node = document.createElement("span");
        node.className = `worker ${worker.state === "ready" ? "good" : "warn"}`;
        node.textContent = workerText(worker);
        return node;
      }),
    );
  }
}
