// The next task of the plan with the scene to prepare, and the progress of the collection.

import { get } from "/api.js";
import { $, make, text } from "/dom.js";
import { t, tell } from "/words.js";

let plan = null;
let task = ""; // chosen instead of the plan's own choice
let asked = 0;

// What the next episode is to be, for recorder/start; null without a plan.
export const proposal = () => plan?.next ?? null;
export const stepRange = () => plan?.step_range ?? null;

export async function loadPlan() {
  const mine = asked += 1;
  const loaded = await get(`/api/plan?task=${encodeURIComponent(task)}`);
  // An answer about the task that was chosen before may come last.
  if (mine !== asked) return;
  plan = loaded.ok ? loaded : null;
  if (!loaded.ok) tell($("planproblem"), loaded.words);
  $("planproblem").hidden = loaded.ok;
  show();
}

function show() {
  const next = plan?.next;
  $("proposal").hidden = !next;
  $("fulfilled").hidden = !plan?.planned || Boolean(next);
  $("unplanned").hidden = !plan || plan.planned;
  if (next) {
    text("nextlanguage", next.language);
    $("scene").replaceChildren(...Object.entries(next.environment).map(([name, value]) => make("li", {},
      make("small", {}, known(`recorder.${name}`, name)), make("b", { translate: false }, value.replaceAll("_", " ")))));
  }
  showChoice();
  showProgress();
}

// A word of the table, or the plan's own name where it has none.
function known(key, name) {
  const word = t(key);
  return word === key ? name.replaceAll("_", " ") : word;
}

function showChoice() {
  const names = plan?.planned ? plan.tasks.filter(({ wanted }) => wanted).map((each) => each.task) : [];
  $("nexttask").parentElement.hidden = !names.length;
  $("nexttask").replaceChildren(make("option", { value: "" }, t("recorder.planned")),
    ...names.map((name) => make("option", { value: name, translate: false }, name.replaceAll("_", " "))));
  $("nexttask").value = task;
}

function showProgress() {
  const tasks = plan?.tasks ?? [];
  const categories = [...new Set(tasks.map(({ category }) => category))];
  const open = new Set([...$("progress").querySelectorAll("details[open]")].map(({ dataset }) => dataset.category));
  $("progress").replaceChildren(...categories.map((category) => {
    const own = tasks.filter((each) => each.category === category);
    const sum = own.reduce((all, { done, wanted, failed }) => ({
      done: all.done + done, wanted: all.wanted + wanted, failed: all.failed + failed,
    }), { done: 0, wanted: 0, failed: 0 });
    return make("details", { open: open.has(category), dataset: { category } },
      make("summary", {}, bar(make("span", {}, t(`category.${category || "none"}`)), sum)),
      ...own.map((each) => bar(make("span", { translate: false }, each.task.replaceAll("_", " ")), each)));
  }));
  $("forecast").hidden = !plan?.planned;
  if (!plan?.planned) return;
  const day = plan.forecast && new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "long", timeZone: "UTC" });
  const words = plan.done >= plan.wanted ? { key: "plan.fulfilled" }
    : day ? { key: "plan.forecast", day: day.format(new Date(plan.forecast)) } : { key: "plan.nopace" };
  tell($("forecast"), words);
  tell($("total"), { key: "progress.of", done: plan.done, wanted: plan.wanted });
}

function bar(name, { done, wanted, failed }) {
  const count = t(wanted ? "progress.of" : "progress.count", { done, wanted });
  const row = make("div", {}, make("div", { className: "bar" }, name,
    make("span", {}, failed ? t("progress.failed", { count, failed }) : count)));
  if (wanted) {
    const fill = make("i", { style: { width: `${Math.min(100, (100 * done) / wanted)}%` } });
    row.append(make("div", { className: "track" }, fill));
  }
  return row;
}

$("nexttask").addEventListener("change", () => {
  task = $("nexttask").value;
  $("nexttask").blur();
  loadPlan();
});
document.addEventListener("language", show);
