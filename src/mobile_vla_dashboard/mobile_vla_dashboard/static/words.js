// The words of the page in the chosen language, from the one table words.json.

import { recall, remember } from "/store.js";

const RETRY_MS = 1000;

// Nothing but STOP works without the words: tried until they are here.
async function load() {
  for (;;) {
    try {
      const answer = await fetch("/words.json");
      if (answer.ok) return await answer.json();
    } catch {
      // The network or the dashboard is gone for a moment.
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

const table = await load();
const NAMES = { en: "English", ko: "한국어" };

let language = NAMES[recall("language")] ? recall("language") : navigator.language.startsWith("ko") ? "ko" : "en";

// The text of a key. Placeholders take values, which may be words themselves.
export function t(key, values = {}) {
  const text = table[key]?.[language] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => said(values[name] ?? ""));
}

// What the server sends: text of another node, which stays as it is, or words of the table.
export function said(words) {
  return words !== null && typeof words === "object" ? t(words.key, words) : String(words);
}

// Shows what the server sends, and marks text of other nodes as not for translation.
export function tell(element, words) {
  const own = words !== null && typeof words === "object";
  element.translate = own;
  element.words = words;
  element.dataset.told = "";
  const text = said(words);
  if (element.textContent !== text) element.textContent = text;
}

const ATTRIBUTES = { tLabel: "aria-label", tTitle: "title", tPlaceholder: "placeholder" };

// Fills in the fixed words of an element and of what it contains: data-t is its text, the others are attributes.
export function translate(root = document.documentElement) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-told]")) tell(element, element.words);
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    const selector = `[data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`;
    for (const element of root.querySelectorAll(selector)) element.setAttribute(attribute, t(element.dataset[name]));
  }
}

// Sets the fixed text of an element, so that it changes with the language.
export function label(element, key) {
  if (element.dataset.t === key) return;
  element.dataset.t = key;
  element.textContent = t(key);
}

// The button names the other language, in that language.
const button = document.getElementById("lang");

function apply() {
  document.documentElement.lang = language;
  translate();
  button.lang = other();
  button.textContent = NAMES[other()];
  document.dispatchEvent(new CustomEvent("language"));
}

function other() {
  return language === "en" ? "ko" : "en";
}

button.addEventListener("click", () => {
  language = other();
  remember("language", language);
  apply();
});
apply();
