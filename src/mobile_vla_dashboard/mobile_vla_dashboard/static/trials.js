// The Trials view: a series of trials on the robot, one after the other, judged by key.

import { get, post, toast } from "/api.js";
import { $, make, text } from "/dom.js";
import { typing } from "/keys.js";
import { view } from "/views.js";
import { label, said, t, tell } from "/words.js";

let series = null; // the open one
let desk = { phase: "idle" }; // what the robot's side does, from the state
let reasons = [];
const KEYS = [..."1234567890-"]; // of the reasons, in their order
let seen = "";
let preparing = false;
let beside = ""; // the loaded checkpoint, or what it is called meanwhile

export function showTrials(state) {
  desk = state.trial;
  // Another page, or the time limit, may have moved on.
  const now = `${desk.series} ${desk.phase}`;
  if (now !== seen) {
    seen = now;
    if (view() === "trials" && desk.series && (!series || series.id === desk.series) && desk.phase !== "loading") open(desk.series);
  }
  // The checkpoints to choose from are those beside the loaded one.
  const loaded = JSON.stringify(state.policy.checkpoint);
  if (loaded !== beside) {
    beside = loaded;
    if (view() === "trials" && !series) list();
  }
  if (view() === "trials") render();
}

async function list() {
  const reply = await get("/api/trials");
  if (!reply.ok) return toast(reply.words, false);
  reasons = reply.reasons;
  $("checkpointbox").hidden = !reply.checkpoints.length;
  const chosen = new Set(checked());
  $("checkpoints").replaceChildren(...reply.checkpoints.map((name) => make("label", { className: "check", translate: false },
    make("input", { type: "checkbox", value: name, checked: chosen.has(name) }), name)));
  $("earlier").hidden = !reply.series.length;
  $("serieslist").replaceChildren(...reply.series.map((each) => {
    const facts = each.problem ? said(each.problem) : `${t("trials.done", each)} · ${each.created_at.slice(0, 10)}`;
    const button = make("button", { type: "button", className: "episode", dataset: { series: each.id }, disabled: Boolean(each.problem) },
      make("span", { className: "what" }, make("b", { translate: false }, each.title || each.id), make("small", { translate: false }, facts)));
    button.addEventListener("click", () => prepare(each.id));
    return make("li", {}, button);
  }));
  render();
}

async function open(id) {
  const reply = await get(`/api/trials/${id}`);
  if (reply.ok) { series = reply.series; render(); }
}

// Asks for something about the open series; a reply with a series is the new one.
async function ask(action, body) {
  const reply = await post(`/api/trials/${series.id}/${action}`, body);
  if (!reply.ok) toast(reply.words, false);
  if (reply.series) series = reply.series;
  render();
  return reply.ok;
}

// Takes up the next trial: the robot's side loads its checkpoint while the operator places the scene.
async function prepare(id = series.id) {
  if (series?.id !== id) await open(id);
  if (!series || series.over) return;
  preparing = true;
  render();
  try {
    await ask("prepare");
  } finally {
    preparing = false;
    render();
  }
}

async function judge(outcome, reason = "") {
  const note = $("trialnote").value.trim();
  if (!await ask("judge", { outcome, reason, note })) return;
  $("trialnote").value = "";
  await prepare();
}

function fail() {
  if (desk.phase === "running") ask("halt");
  $("trialreasons").hidden = false;
}

function render() {
  const busy = ["running", "judging"].includes(desk.phase) && desk.series === series?.id;
  $("trialcard").hidden = !series;
  $("trialresult").hidden = !series?.results.length;
  $("trialsetup").hidden = Boolean(series);
  if (!series) return;
  text("seriestitle", series.title || series.id);
  const number = series.done + 1;
  const phase = series.over ? "over" : preparing ? "loading" : desk.series === series.id ? desk.phase : "idle";
  tell($("trialphase"), { key: phase === "loading" ? "trials.phase.loading" : `trials.${phase}`, number, trials: series.trials });
  $("trialcard").className = `card ${{ running: "active", judging: "warn", loading: "warn", over: "ok" }[phase] ?? "idle"}`;
  tell($("trialmessage"), desk.series === series.id ? desk.message : "");
  $("trialbar").firstChild.style.width = `${(100 * series.done) / series.trials}%`;
  $("trialnext").hidden = series.over;
  if (series.next) {
    text("trialinstruction", series.next.instruction);
    text("trialletter", series.next.checkpoint);
    text("trialstart", series.next.start);
    $("trialletterbox").hidden = series.letters.length < 2;
    $("trialstartbox").hidden = !series.next.start;
    text("trialelapsed", busy ? `${desk.elapsed_s.toFixed(1)} s` : `${series.time_limit_s} s`);
    const like = series.next.like;
    $("triallike").hidden = like === null || busy;
    // A trial that was made again has the same number, and began at another time.
    const address = like === null ? "" : `/api/trials/${series.id}/video/${like}/first?began=${encodeURIComponent(series.results[like].began_at)}`;
    if ($("triallikeimage").getAttribute("src") !== address) $("triallikeimage").setAttribute("src", address);
  }
  $("trialbegin").hidden = busy || series.over;
  $("trialbegin").disabled = phase === "loading";
  $("trialsuccess").hidden = $("trialfailure").hidden = !busy;
  $("trialdiscard").hidden = $("trialnotebox").hidden = !busy;
  $("trialagain").hidden = phase !== "idle" || desk.message?.key !== "trials.loadit";
  if (!busy) $("trialreasons").hidden = true;
  $("trialforget").hidden = busy || !series.results.length;
  $("trialclose").hidden = busy || series.over;
  $("trialleave").hidden = busy;
  if ($("reasons").childElementCount !== reasons.length) {
    $("reasons").replaceChildren(...reasons.map((reason, index) => {
      const button = make("button", { type: "button", dataset: { reason } },
        ...(index in KEYS ? [make("kbd", {}, KEYS[index])] : []), make("span", { dataset: { t: keyOf(reason) } }, t(keyOf(reason))));
      button.addEventListener("click", () => judge("failure", reason));
      return make("li", {}, button);
    }));
  }
  showResults();
}

let resultsShown = "";
function showResults() {
  const key = JSON.stringify([document.documentElement.lang, series.summary, series.done, series.over]);
  if (key === resultsShown) return;
  resultsShown = key;
  const { summary } = series;
  const own = (entries) => Object.entries(entries).map(([name, entry]) => rate(name, entry));
  $("trialrates").replaceChildren(rate(t("trials.all"), summary), ...own(summary.by_checkpoint), ...own(summary.by_instruction));
  $("trialreport").href = `/api/trials/${series.id}/report`;
  $("trialrows").replaceChildren(...series.results.map((trial) => make("li", {},
    make("b", {}, String(trial.trial + 1)), make("span", {}, [trial.instruction, trial.start].filter(Boolean).join(" · ")),
    make("span", { className: `outcome ${trial.outcome}` }, trial.reason ? t(keyOf(trial.reason)) : t(`outcome.${trial.outcome}`)),
    ...(trial.note ? [make("span", {}, trial.note)] : []),
    make("span", {}, `${trial.duration_s.toFixed(1)} s`),
    ...(trial.video ? [make("a", { href: `/api/trials/${series.id}/video/${trial.trial}`, target: "_blank" }, t("trials.video"))] : []),
  )).reverse());
}

function rate(name, { successes, trials, success_rate: share, interval_95: [low, high] }) {
  const percent = (value) => (100 * value).toFixed(0);
  return make("div", { className: "rate" },
    make("div", { className: "bar" }, make("span", { translate: false }, name), make("span", {}, t("trials.rate", {
      successes, trials, rate: percent(share), low: percent(low), high: percent(high),
    }))),
    make("div", { className: "interval" }, make("i", { style: { left: `${100 * low}%`, width: `${100 * (high - low)}%` } }),
      make("b", { style: { left: `${100 * share}%` } })));
}

const keyOf = (reason) => `reason.${reason.replaceAll(" ", "_")}`;
const checked = () => [...$("checkpoints").querySelectorAll(":checked")].map(({ value }) => value);
const lines = (id) => $(id).value.split("\n").map((line) => line.trim()).filter(Boolean);

$("newseries").addEventListener("submit", async (event) => {
  event.preventDefault();
  document.activeElement?.blur();
  const reply = await post("/api/trials", {
    title: $("serieslabel").value.trim(),
    instructions: lines("seriesinstructions"),
    starts: lines("seriesstarts"),
    checkpoints: [...checked(), ...lines("seriescheckpoints")],
    rounds: Number($("seriesrounds").value),
    time_limit_s: Number($("serieslimit").value),
  });
  if (!reply.ok) return toast(reply.words, false);
  series = reply.series;
  await prepare();
});

const leave = () => { series = null; list(); };
$("trialbegin").addEventListener("click", () => ask("begin"));
$("trialsuccess").addEventListener("click", () => judge("success"));
$("trialfailure").addEventListener("click", fail);
$("trialdiscard").addEventListener("click", () => ask("discard"));
$("trialforget").addEventListener("click", async () => { if (await ask("forget")) prepare(); });
$("trialagain").addEventListener("click", () => prepare());
$("trialleave").addEventListener("click", leave);
// Leaves the field, so that the keys judge again.
$("trialnote").addEventListener("keydown", (event) => { if (event.key === "Enter") $("trialnote").blur(); });

// Ending a series takes two presses: it reveals the checkpoints.
let closeTimer = 0;
$("trialclose").addEventListener("click", () => {
  clearTimeout(closeTimer);
  const sure = $("trialclose").dataset.sure;
  delete $("trialclose").dataset.sure;
  label($("trialclose"), sure ? "trials.close" : "trials.close.sure");
  if (sure) return ask("close");
  $("trialclose").dataset.sure = "yes";
  closeTimer = setTimeout(() => { delete $("trialclose").dataset.sure; label($("trialclose"), "trials.close"); }, 3000);
});

addEventListener("keydown", (event) => {
  if (view() !== "trials" || !series || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (typing(event.target)) return;
  const busy = ["running", "judging"].includes(desk.phase);
  if (event.code === "KeyN" && !busy && !preparing && !series.over) ask("begin");
  else if (event.code === "KeyS" && busy) judge("success");
  else if (event.code === "KeyF" && busy) fail();
  else if (KEYS.includes(event.key) && busy && !$("trialreasons").hidden) {
    const reason = reasons[KEYS.indexOf(event.key)];
    if (reason) judge("failure", reason);
  }
});
document.addEventListener("view", (event) => { if (event.detail === "trials") list(); });
document.addEventListener("language", () => { if (view() === "trials") list(); });
if (view() === "trials") list();
