// What outlives a reload: the conversation and the settings, in localStorage of this origin. Never the key.

const CHAT = "leadline.chat.v1";
const SETTINGS = "leadline.settings.v1";
const MAX_BYTES = 2_000_000; // browsers give about 5 MB: beyond ours, tokens' details go first, then the oldest turns

function read(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? fallback;
  } catch {
    return fallback; // unreadable or forbidden: start afresh
  }
}

function write(name, text) {
  try {
    localStorage.setItem(name, text);
    return true;
  } catch {
    return false; // full or forbidden: the page works on without memory
  }
}

function isMessage(message) {
  return (
    message !== null && typeof message === "object" && typeof message.text === "string" &&
    (message.role === "user" || message.role === "assistant")
  );
}

// [{role, text, tokens?, end?, error?, figures?}]
export function loadChat() {
  const chat = read(CHAT, []);
  return Array.isArray(chat) ? chat.filter(isMessage) : [];
}

export function saveChat(messages) {
  let kept = messages;
  let text = JSON.stringify(kept);
  if (text.length > MAX_BYTES) {
    kept = kept.map((message) => ({ ...message, tokens: undefined }));
    text = JSON.stringify(kept);
  }
  while (text.length > MAX_BYTES && kept.length > 2) {
    kept = kept.slice(2);
    text = JSON.stringify(kept);
  }
  return write(CHAT, text);
}

export function loadSettings() {
  const settings = read(SETTINGS, {});
  return settings !== null && typeof settings === "object" ? settings : {};
}

export const saveSettings = (settings) => write(SETTINGS, JSON.stringify(settings));
