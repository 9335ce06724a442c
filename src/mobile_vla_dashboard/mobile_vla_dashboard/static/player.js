// Plays an episode back and corrects it. Not a modal dialog: STOP stays within reach.

import { get, post, toast } from "/api.js";
import { $, make, text } from "/dom.js";
import { Frames } from "/frames.js";
import { Traces } from "/traces.js";
import { label, t, tell } from "/words.js";

let shown = null; // the open episode: its card, images, steps and the position in them
let edited = () => {};

// Calls `callback(undo)` after every edit; `undo` is { words, run } or null.
export function onEdit(callback) { edited = callback; }

export const playing = () => shown?.card.episode_id ?? null;

export async function play(card) {
  close();
  const pressedMs = performance.now();
  const canvases = Object.entries(card.cameras).map(([camera]) => ({ camera, canvas: make("canvas", { width: 224, height: 224 }) }));
  const frames = new Frames(card);
  const session = { card, frames, canvases, step: 0, drawn: -1, running: true, traces: [], kept: [0, card.steps - 1], marking: false };
  shown = session;
  $("playerimages").replaceChildren(...canvases.map(({ camera, canvas }) => make("figure", {}, canvas,
    make("figcaption", {}, make("span", {}, camera)))));
  $("traces").replaceChildren();
  describe();
  $("player").hidden = false;
  $("player").scrollIntoView({ block: "nearest" });
  $("playpause").focus({ preventScroll: true });
  $("scrub").max = card.steps - 1;
  const first = frames.ready(0);
  const steps = get(`/api/episodes/${card.episode_id}/steps`);
  await first;
  if (shown !== session) return;
  await paint(0);
  document.dispatchEvent(new CustomEvent("playback", { detail: { id: card.episode_id, ms: performance.now() - pressedMs } }));
  run();
  const loaded = await steps;
  if (shown !== session || !loaded.ok) return;
  session.steps = loaded;
  session.traces = [
    new Traces(t("player.actions"), loaded.action_names, loaded.actions, loaded.stride, loaded.takeover),
    new Traces(t("player.states"), loaded.state_names, loaded.states, loaded.stride, loaded.takeover),
  ];
  $("traces").replaceChildren(...session.traces.map(({ element }) => element));
  paint(session.step);
  const whole = await get(`/api/episodes/${card.episode_id}`);
  if (shown === session && whole.ok) { session.card = { ...session.card, ...whole }; describe(); }
}

export function close() {
  shown?.frames.close();
  shown = null;
  $("player").hidden = true;
}

// The labels, and what the check found.
function describe() {
  const { card } = shown;
  text("playername", card.episode_id);
  $("playerlanguage").value = card.language;
  $("playertask").value = card.task;
  $("playercategory").value = card.category;
  for (const button of document.querySelectorAll("[data-relabel]")) {
    button.setAttribute("aria-pressed", String(button.dataset.relabel === card.outcome));
  }
  // Numbers and lists are a simulator's notes.
  const words = Object.entries(card.environment).filter(([, value]) => typeof value === "string");
  const scene = words.map(([name, value]) => `${name}: ${String(value).replaceAll("_", " ")}`);
  text("playerfacts", [card.source, `${card.real_rate_hz.toFixed(1)} Hz`, ...scene].join(" · "));
  $("playerfindings").replaceChildren(...card.findings.map((found) => make("li", { className: found.severity, translate: false },
    `${found.step === null ? "" : `${t("player.step", { step: found.step })}: `}${found.message}; ${found.advice}`)));
  showKept();
}

// --- playing ---------------------------------------------------------------------------------------------

function run() {
  const session = shown;
  if (!session) return;
  session.running = true;
  label($("playpause"), "player.pause");
  if (session.step >= session.kept[1]) session.step = session.kept[0];
  const periodMs = 1000 * (session.steps?.period_s ?? 1 / (session.card.declared_rate_hz || 10));
  let dueMs = performance.now();
  const tick = (nowMs) => {
    if (shown !== session || !session.running) return;
    // An image that is not here yet is waited for, not skipped.
    if (nowMs >= dueMs && session.frames.get(session.canvases[0].camera, session.step)) {
      dueMs = Math.max(dueMs + periodMs, nowMs - periodMs);
      paint(session.step);
      if (session.step >= session.kept[1]) { pause(); return; }
      session.step += 1;
    } else session.frames.want(session.step);
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function pause() {
  if (!shown) return;
  shown.running = false;
  label($("playpause"), "player.play");
}

async function seek(step) {
  pause();
  const session = shown;
  session.step = step;
  await session.frames.ready(step);
  // The last place of a fast drag wins.
  if (shown === session && session.step === step) paint(step);
}

async function paint(step) {
  const session = shown;
  session.frames.want(step);
  $("scrub").value = step;
  text("playerstep", t("player.at", { step, last: session.card.steps - 1 }));
  for (const traces of session.traces) traces.draw(step, session.card.steps, session.kept);
  session.drawn = step;
  await Promise.all(session.canvases.map(async ({ camera, canvas }, index) => {
    const image = session.frames.get(camera, step);
    if (!image) return;
    const bitmap = await createImageBitmap(image).catch(() => null);
    if (!bitmap) return;
    if (session.drawn === step) {
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      if (index === 0) cross(canvas, session.steps?.target?.[Math.floor(step / session.steps.stride)]);
    }
    bitmap.close();
  }));
}

// The marked target.
function cross(canvas, place) {
  if (!place || place[0] < 0) return;
  const context = canvas.getContext("2d");
  for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(place[0] + 0.5, place[1] + 0.5, 8, 0, 2 * Math.PI);
    context.stroke();
  }
}

// --- correcting ------------------------------------------------------------------------------------------

// Sends an edit of the open episode; `undo(reply)` returns how to take it back.
async function edit(action, body, undo) {
  const { card } = shown;
  pause();
  const reply = await post(`/api/episodes/${card.episode_id}/${action}`, body);
  toast(reply.ok ? { key: `player.done.${action}`, id: card.episode_id } : reply.words, reply.ok);
  if (reply.ok) edited({ words: { key: `player.done.${action}`, id: card.episode_id }, run: undo(reply) });
  return reply;
}

const restore = (reply) => () => post("/api/restore", reply.undo);

async function relabel(changes) {
  const { episode_id: id, language, task, category, outcome } = shown.card;
  const before = { language, task, category, outcome };
  const changed = Object.keys(changes).filter((name) => changes[name] !== before[name]);
  if (!changed.length) return;
  const old = Object.fromEntries(changed.map((name) => [name, before[name]]));
  const reply = await edit("relabel", changes, () => () => post(`/api/episodes/${id}/relabel`, old));
  if (reply.ok && shown?.card.episode_id === id) {
    shown.card = { ...reply.episode, findings: shown.card.findings };
    describe();
  }
}

async function trim() {
  const [first, last] = shown.kept;
  const reply = await edit("trim", { first, last }, restore);
  if (reply.ok) play(reply.episode);
}

async function discard() {
  const reply = await edit("discard", {}, restore);
  if (reply.ok) close();
}

async function mark(event) {
  if (!shown?.marking) return;
  const { canvas } = shown.canvases[0];
  if (event.target !== canvas) return;
  const box = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
  const row = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
  marking(false);
  const { episode_id: id } = shown.card;
  const old = shown.steps?.target?.find((place) => place[0] >= 0);
  const reply = await edit("target", { column, row }, () => (old
    ? () => post(`/api/episodes/${id}/target`, { column: old[0], row: old[1] }) : null));
  if (!reply.ok || shown?.card.episode_id !== id) return;
  const steps = await get(`/api/episodes/${id}/steps`);
  if (steps.ok && shown?.card.episode_id === id) { shown.steps = steps; paint(shown.step); }
}

function marking(on) {
  shown.marking = on;
  $("playerimages").classList.toggle("marking", on);
  $("markhint").hidden = !on;
}

function showKept() {
  const [first, last] = shown.kept;
  const whole = first === 0 && last === shown.card.steps - 1;
  $("trim").disabled = whole;
  tell($("kept"), { key: "player.kept", first, last, steps: last - first + 1 });
  for (const traces of shown.traces) traces.draw(shown.step, shown.card.steps, shown.kept);
}

$("playpause").addEventListener("click", () => (shown.running ? pause() : run()));
$("scrub").addEventListener("input", () => seek(Number($("scrub").value)));
$("closeplayer").addEventListener("click", close);
$("trimfirst").addEventListener("click", () => { shown.kept = [Math.min(shown.step, shown.kept[1]), shown.kept[1]]; showKept(); });
$("trimlast").addEventListener("click", () => { shown.kept = [shown.kept[0], Math.max(shown.step, shown.kept[0])]; showKept(); });
$("trim").addEventListener("click", trim);
$("discardepisode").addEventListener("click", discard);
$("mark").addEventListener("click", () => { pause(); marking(!shown.marking); });
$("playerimages").addEventListener("click", mark);
$("relabel").addEventListener("submit", (event) => {
  event.preventDefault();
  document.activeElement?.blur();
  relabel({ language: $("playerlanguage").value.trim(), task: $("playertask").value.trim(), category: $("playercategory").value });
});
for (const button of document.querySelectorAll("[data-relabel]")) {
  button.addEventListener("click", () => relabel({ outcome: button.dataset.relabel }));
}
addEventListener("resize", () => { if (shown) paint(shown.step); });
document.addEventListener("language", () => { if (shown) describe(); });
