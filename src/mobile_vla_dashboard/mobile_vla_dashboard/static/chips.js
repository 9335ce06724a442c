// The instructions that the collection plan knows, as buttons that fill in the field.

import { $, make } from "/dom.js";
import { t } from "/words.js";

let asked = false;

export async function offerInstructions() {
  if (asked) return;
  asked = true;
  try {
    const reply = await (await fetch("/api/instructions")).json();
    show(reply.tasks ?? []);
  } catch {
    asked = false; // asked again when the view is opened again
  }
}

function show(tasks) {
  const categories = new Map();
  for (const { category, instructions } of tasks) {
    categories.set(category, [...(categories.get(category) ?? []), ...instructions]);
  }
  $("chips").replaceChildren(...[...categories].map(([category, instructions]) => group(category, instructions)));
}

function group(category, instructions) {
  const name = make("summary", { dataset: { t: `category.${category}` } }, t(`category.${category}`));
  return make("details", {}, name, make("div", { className: "chips" }, ...instructions.map(chip)));
}

function chip(instruction) {
  const button = make("button", { type: "button", className: "chip", translate: false }, instruction);
  button.addEventListener("click", () => { $("instruction").value = instruction; });
  return button;
}
