// Lists what the check of an episode has found. The findings are text of the check; the page adds the step.

import { make } from "/dom.js";
import { t } from "/words.js";

export function showFindings(list, findings) {
  list.found = findings;
  list.replaceChildren(...findings.map(({ severity, step, message, advice }) => make("li", { className: severity, translate: false },
    `${step === null ? "" : `${t("player.step", { step })}: `}${message}; ${advice}`)));
}

document.addEventListener("language", () => {
  for (const list of document.querySelectorAll(".findings")) showFindings(list, list.found ?? []);
});
