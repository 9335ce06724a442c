// Requests to the dashboard, and the line at the bottom that says how they ended.

import { $ } from "/dom.js";
import { tell } from "/words.js";

let timer = 0;

export function toast(words, good) {
  tell($("toastwords"), words);
  $("toast").className = good ? "" : "bad";
  $("toast").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { $("toast").hidden = true; }, good ? 4000 : 9000);
}

// What a reply says: words of the table, or a line of another node.
export function wordsOf(reply, status = 0) {
  if (reply.words) return reply.words;
  if (reply.message) return reply.message;
  return reply.ok ? { key: "reply.done" } : { key: "reply.refused", status };
}

async function ask(path, options) {
  try {
    const response = await fetch(path, options);
    const reply = await response.json().catch(() => ({}));
    return { ...reply, ok: response.ok && reply.ok !== false, words: wordsOf(reply, response.status) };
  } catch {
    return { ok: false, words: { key: "reply.none" } };
  }
}

export const get = (path, signal) => ask(path, { signal });

export const post = (path, body = {}) => ask(path, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  keepalive: true,
});

export async function press(path, body) {
  const reply = await post(path, body);
  toast(reply.words, reply.ok);
  return reply.ok;
}
