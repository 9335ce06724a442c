// The Collect view: the open episode, and how far the collection is.

import { press } from "/api.js";
import { card } from "/card.js";
import { $, gigabytes, make, text, unit } from "/dom.js";
import { label, t } from "/words.js";

export function showCollect({ recorder, progress }) {
  card($("recorder"), recorder);
  showRecorder(recorder);
  showProgress(progress.tasks);
}

function showRecorder(recorder) {
  $("start").hidden = !recorder.present || recorder.recording;
  $("running").hidden = !recorder.recording;
  $("start").querySelector("button").disabled = !recorder.ready;
  if (!recorder.present) return;
  $("language").placeholder = recorder.next_language || t("recorder.what");
  $("task").placeholder = recorder.next_task || "";
  text("episode", `${recorder.episode_id}: ${recorder.language}`);
  text("steps", String(recorder.steps));
  text("duration", unit(recorder.duration_s, 1, "s"));
  text("real", `${unit(recorder.real_rate_hz, 1, "")} / ${unit(recorder.declared_rate_hz, 1, "Hz")}`);
  text("dropped", String(recorder.dropped_ticks));
  text("saved", String(recorder.episodes_saved));
  text("disk", gigabytes(recorder.disk_free_bytes));
}

let progressShown = "";
function showProgress(tasks) {
  const key = document.documentElement.lang + JSON.stringify(tasks);
  if (key === progressShown) return;
  progressShown = key;
  const categories = new Map();
  for (const task of tasks) {
    const sum = categories.get(task.category) || { done: 0, wanted: 0, failed: 0 };
    sum.done += task.done;
    sum.wanted += task.wanted;
    sum.failed += task.failed;
    categories.set(task.category, sum);
  }
  $("progress").replaceChildren(...[...categories].map(([category, sum]) => bar(category, sum)));
}

function bar(category, { done, wanted, failed }) {
  const count = t(wanted ? "progress.of" : "progress.count", { done, wanted });
  const name = make("span", {}, t(`category.${category || "none"}`));
  const row = make("div", {}, make("div", { className: "bar" }, name,
    make("span", {}, failed ? t("progress.failed", { count, failed }) : count)));
  if (wanted) {
    const fill = make("i", { style: { width: `${Math.min(100, (100 * done) / wanted)}%` } });
    row.append(make("div", { className: "track" }, fill));
  }
  return row;
}

$("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  document.activeElement?.blur();
  const environment = {};
  for (const field of document.querySelectorAll("[data-env]")) environment[field.dataset.env] = field.value.trim();
  const body = { language: $("language").value, task: $("task").value, category: $("category").value, environment };
  await press("/api/recorder/start", body);
});
for (const button of document.querySelectorAll("[data-outcome]")) {
  button.addEventListener("click", () => press("/api/recorder/stop", { outcome: button.dataset.outcome }));
}

// Discarding an episode takes two presses.
let discardTimer = 0;
$("discard").addEventListener("click", () => {
  clearTimeout(discardTimer);
  if ($("discard").dataset.sure) {
    disarm();
    press("/api/recorder/discard");
  } else {
    $("discard").dataset.sure = "yes";
    label($("discard"), "recorder.really");
    discardTimer = setTimeout(disarm, 3000);
  }
});
function disarm() {
  delete $("discard").dataset.sure;
  label($("discard"), "recorder.discard");
}
