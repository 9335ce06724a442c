// The Collect view: the next episode, the open one, and how it ended. Plan and past episodes have modules of their own.

import { get, post, toast } from "/api.js";
import { card } from "/card.js";
import { $, gigabytes, text, unit } from "/dom.js";
import { loadEpisodes } from "/episodes.js";
import { showFindings } from "/findings.js";
import { typing } from "/keys.js";
import { onLost } from "/live.js";
import { loadPlan, proposal, stepRange } from "/plan.js";
import { view } from "/views.js";
import { label, t, tell } from "/words.js";

let recorder = {};
let besidePolicy = false;
let edits = 0; // of episodes, in whichever page
let known = ""; // dataset, number of episodes and of edits that plan and list were loaded for
let ended = ""; // the episode whose end was asked for, until the recorder says that it is closed
let judged = ""; // the episode whose result is shown

// A stop that failed may be asked for again after this, unless the recorder says by then that the episode is closed.
const AGAIN_MS = 1000;

export function showCollect(state) {
  recorder = state.recorder;
  edits = state.edits;
  if (!recorder.recording) ended = "";
  card($("recorder"), recorder);
  // Beside a policy the recorder fills an episode with the instruction that the policy follows.
  besidePolicy = state.policy.present;
  $("planned").hidden = besidePolicy;
  $("choice").style.display = besidePolicy ? "none" : "";
  $("bypolicy").hidden = !besidePolicy;
  text("followed", recorder.next_language || "");
  $("waiting").hidden = !recorder.present || recorder.recording;
  $("running").hidden = !recorder.recording;
  $("start").querySelector("button").disabled = !recorder.ready;
  refresh();
  if (!recorder.present) return;
  $("language").placeholder = recorder.next_language || "";
  $("task").placeholder = recorder.next_task || "";
  text("episode", recorder.language);
  text("duration", unit(recorder.duration_s, 1, "s"));
  text("real", `${unit(recorder.real_rate_hz, 1, "")} / ${unit(recorder.declared_rate_hz, 1, "Hz")}`);
  text("disk", gigabytes(recorder.disk_free_bytes));
  if (recorder.recording) showSteps();
}

// Loads plan and list when an episode was added or edited, in whichever page, and when the view is opened.
function refresh(again = false) {
  const now = `${recorder.dataset} ${recorder.episodes_saved} ${edits}`;
  if (view() !== "collect" || (now === known && !again)) return;
  known = now;
  loadPlan();
  loadEpisodes();
}

function showSteps() {
  const range = stepRange();
  const { steps, dropped_ticks: dropped } = recorder;
  const scale = range ? range[1] * 1.2 : Math.max(100, steps);
  const [bar, band] = $("meter").children;
  bar.style.width = `${Math.min(100, (100 * steps) / scale)}%`;
  band.hidden = !range;
  if (range) {
    band.style.left = `${(100 * range[0]) / scale}%`;
    band.style.width = `${(100 * (range[1] - range[0])) / scale}%`;
    bar.className = steps < range[0] ? "short" : steps > range[1] ? "long" : "right";
  }
  const words = range ? { key: "collect.range", steps, min: range[0], max: range[1] } : { key: "collect.steps", steps };
  tell($("stepcount"), words);
  $("meter").setAttribute("aria-label", t(words.key, words));
  tell($("dropcount"), dropped ? { key: "collect.dropped", ticks: dropped } : "");
}

// How the last episode ended stays in sight until the next one starts.
function showResult(words, good, findings = []) {
  const [line, list] = $("result").children;
  tell(line, words);
  showFindings(list, findings);
  $("result").className = `result ${good ? "good" : "poor"}`;
  $("result").hidden = false;
}

async function start() {
  const environment = {};
  for (const field of document.querySelectorAll("[data-env]")) environment[field.dataset.env] = field.value.trim();
  const typed = { language: $("language").value, task: $("task").value, category: $("category").value, environment };
  const asked = typed.language.trim() || typed.task.trim() || typed.category || Object.values(environment).some(Boolean);
  // What is shown is what is recorded, even if the recorder would propose another task by now.
  const next = besidePolicy ? null : proposal();
  const reply = await post("/api/recorder/start", asked || !next ? typed : next);
  toast(reply.words, reply.ok);
  if (!reply.ok) return;
  judged = "";
  $("result").hidden = true;
}

async function finish(outcome) {
  const id = recorder.episode_id;
  if (ended === id) return; // a second press, which the recorder would refuse
  ended = judged = id;
  const reply = await post("/api/recorder/stop", { outcome });
  showResult(reply.ok ? { key: "collect.checking", id } : reply.words, reply.ok);
  // The recorder reports errors only, and saves an episode with errors, too.
  const episode = await get(`/api/episodes/${id}`);
  if (!episode.ok && !reply.ok) setTimeout(() => { if (ended === id) ended = ""; }, AGAIN_MS);
  if (judged === id) showSaved(id, reply, episode);
  refresh(true);
}

function showSaved(id, reply, episode) {
  if (!episode.ok) return showResult(reply.words, reply.ok);
  const found = episode.findings.filter(({ message }) => !reply.message?.includes(message));
  const words = reply.ok ? { key: found.length ? "collect.found" : "collect.saved", id } : reply.words;
  showResult(words, reply.ok, found);
}

$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  document.activeElement?.blur();
  start();
});
for (const button of document.querySelectorAll("[data-outcome]")) {
  button.addEventListener("click", () => finish(button.dataset.outcome));
}

// Discarding an episode takes two presses.
let discardTimer = 0;
async function discard() {
  clearTimeout(discardTimer);
  if ($("discard").dataset.sure) {
    disarm();
    const reply = await post("/api/recorder/discard");
    showResult(reply.words, reply.ok);
  } else {
    $("discard").dataset.sure = "yes";
    label($("discard"), "recorder.really");
    discardTimer = setTimeout(disarm, 3000);
  }
}
function disarm() {
  delete $("discard").dataset.sure;
  label($("discard"), "recorder.discard");
}
$("discard").addEventListener("click", discard);

// One key each, in this view only, and not while a field has the focus.
const KEYS = { KeyN: start, KeyS: () => finish("success"), KeyF: () => finish("failure"), KeyX: discard };
addEventListener("keydown", (event) => {
  if (view() !== "collect" || !(event.code in KEYS) || event.repeat) return;
  if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
  if (event.code === "KeyN" ? recorder.ready : recorder.recording) KEYS[event.code]();
});

document.addEventListener("view", () => refresh(true));
onLost(() => { known = ""; });
