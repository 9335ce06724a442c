// The three views of the page. The address names the view (#run), so that the browser's own keys go back and forth.

import { $ } from "/dom.js";
import { recall, remember } from "/store.js";

const VIEWS = ["collect", "run", "trials"];

let chosen = VIEWS.includes(location.hash.slice(1)) || Boolean(recall("view"));

export const view = () => document.body.dataset.view;

function open(name) {
  document.body.dataset.view = name;
  for (const each of VIEWS) {
    $(each).hidden = each !== name;
    const link = document.querySelector(`nav a[href="#${each}"]`);
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.dispatchEvent(new CustomEvent("view", { detail: name }));
}

// The view of what runs, unless the operator has ever chosen one.
export function suggest(state) {
  if (chosen || (!state.recorder.present && !state.policy.present)) return;
  chosen = true;
  open(state.recorder.present ? "collect" : "run");
}

function follow() {
  const name = location.hash.slice(1);
  if (!VIEWS.includes(name)) return;
  chosen = true;
  remember("view", name);
  open(name);
}

addEventListener("hashchange", follow);
open(VIEWS.includes(recall("view")) ? recall("view") : "collect");
follow();
