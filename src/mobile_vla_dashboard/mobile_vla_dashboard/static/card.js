// A card of a node: its tone, its headline, one line of detail.

import { tell } from "/words.js";

export function card(element, content) {
  element.className = `card ${content.tone}${content.present ? "" : " off"}`;
  tell(element.querySelector(".headline span"), content.headline);
  tell(element.querySelector(".detail"), content.detail);
}
