// The instructions that the collection plan knows, as buttons that fill in the field.

import { get } from "/api.js";
import { $, make } from "/dom.js";
import { t, tell } from "/words.js";

let shown = "";

// Asks each time that the view is opened: the plan may have changed.
export async function offerInstructions() {
  const reply = await get("/api/instructions");
  $("chipsproblem").hidden = reply.ok;
  if (!reply.ok) {
    tell($("chipsproblem"), reply.words);
    return;
  }
  const now = JSON.stringify(reply.tasks);
  if (now !== shown) show(reply.tasks);
  shown = now;
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
