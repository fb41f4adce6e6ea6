// The server's API over fetch, all of it on the page's own origin. The key lives in sessionStorage only.

const KEY = "leadline.key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: the server could not be reached, or the connection broke
  }
}

export const getKey = () => sessionStorage.getItem(KEY) ?? "";
export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

async function request(path, { body, signal } = {}) {
  const headers = {};
  const key = getKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new ApiError(0, "The server does not answer.");
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!response.ok) throw new ApiError(response.status, await errorText(response));
  return response;
}

async function errorText(response) {
  try {
    const message = (await response.json()).error?.message;
    if (typeof message === "string") return message;
  } catch {
    // not JSON: a proxy's page, say
  }
  return `The server answered ${response.status}.`;
}

export async function getJson(path, timeoutMs = 5000) {
  const response = await request(path, { signal: AbortSignal.timeout(timeoutMs) });
  try {
    return await response.json();
  } catch {
    throw new ApiError(0, "The server's answer broke off.");
  }
}

// Yields the JSON object of each event up to [DONE]. An error event, or an end without [DONE], throws ApiError.
export async function* streamChat(body, signal) {
  const response = await request("v1/chat/completions", { body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "The connection was lost.");
    }
    if (piece.done) throw new ApiError(0, "The connection was lost.");
    buffer += piece.value;
    let end;
    while ((end = buffer.indexOf("\n\n")) >= 0) {
      const data = buffer
        .slice(0, end)
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      buffer = buffer.slice(end + 2);
      if (!data) continue; // a comment that keeps the connection alive
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(event.error.code === "unavailable" ? 503 : 500, String(event.error.message));
      yield event;
    }
  }
}
