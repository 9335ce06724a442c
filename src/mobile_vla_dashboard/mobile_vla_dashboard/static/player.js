// Plays an episode back and corrects it. Not a modal dialog: STOP stays within reach.

import { get, post, toast } from "/api.js";
import { $, make, text } from "/dom.js";
import { showFindings } from "/findings.js";
import { Frames } from "/frames.js";
import { Traces } from "/traces.js";
import { inTurn } from "/turns.js";
import { label, t, tell } from "/words.js";

const LOOK_MS = 250; // how often a paused player looks for the image that it waits for

let shown = null; // the open episode: its card, images, steps and the position in them
let edits = 0; // of this page, on their way
let newestEdit = Promise.resolve(); // answers when the newest of them is done
let edited = () => {};

// Calls `callback(undo)` after every edit; `undo` is { words, run } or null.
export function onEdit(callback) { edited = callback; }

// Opens an episode at a step. `kept`: first and last step of the part that a trim keeps; `again`: it is open already, and
// the operator's eyes and keys stay where they are.
export async function play(card, { step = 0, running = true, kept = [0, card.steps - 1], again = false } = {}) {
  close();
  const pressedMs = performance.now();
  const canvases = Object.entries(card.cameras).map(([camera]) => ({ camera, canvas: make("canvas", { width: 224, height: 224 }) }));
  const abort = new AbortController();
  const frames = new Frames(card, abort.signal, (words) => { if (shown === session) report(words); });
  const session = { card, frames, abort, canvases, step, drawn: -1, running, traces: [], kept, cursor: null };
  shown = session;
  $("playerimages").replaceChildren(...canvases.map(({ camera, canvas }) => make("figure", {}, canvas,
    make("figcaption", {}, make("span", { translate: false }, camera)))));
  $("traces").replaceChildren();
  describe();
  report(null);
  $("player").hidden = false;
  label($("playpause"), running ? "player.pause" : "player.play");
  if (!again) {
    $("player").scrollIntoView({ block: "nearest" });
    $("playpause").focus({ preventScroll: true });
  }
  $("scrub").max = card.steps - 1;
  const ask = (path) => inTurn(() => get(`/api/episodes/${card.episode_id}${path}`, abort.signal));
  const first = frames.ready(step);
  const steps = ask("/steps");
  await first;
  if (shown !== session) return;
  const painted = await paint(step);
  if (shown !== session) return;
  if (!painted) session.drawn = -1;
  else document.dispatchEvent(new CustomEvent("playback", { detail: { id: card.episode_id, ms: performance.now() - pressedMs } }));
  if (session.running) run();
  else if (!painted) seek(step);
  const loaded = await steps;
  if (shown !== session || !loaded.ok) return;
  session.steps = loaded;
  trace();
  paint(session.step);
  const whole = await ask("");
  if (shown !== session || !whole.ok) return;
  session.card.findings = whole.findings;
  showFindings($("playerfindings"), whole.findings);
}

export function close() {
  shown?.abort.abort();
  shown = null;
  $("player").hidden = true;
}

// Compares the open episode with a list that was just loaded, of all episodes or, with `more`, of the newest: another
// page may have changed it or thrown it away.
export function follow(cards, more) {
  if (!shown || edits) return;
  const { episode_id: id, version } = shown.card;
  const card = cards.find((each) => each.episode_id === id);
  if (card?.version === version) return;
  if (card && !card.problem) open(card);
  else if (card || !more || id >= cards.at(-1)?.episode_id) close();
}

// Shows another version of the open episode where the old one was.
function open(card) {
  const { card: old, step, kept } = shown;
  play(card, { step: Math.min(step, card.steps - 1), running: false, again: true, ...(card.steps === old.steps ? { kept } : {}) });
}

async function reload() {
  const session = shown;
  if (session.reloading) return;
  session.reloading = true;
  const card = await get(`/api/episodes/${session.card.episode_id}`, session.abort.signal);
  if (shown !== session) return;
  if (card.ok && !card.problem) open(card);
  else close();
}

// Says why there are no images.
function report(words) {
  $("playerproblem").hidden = !words;
  if (!words) return;
  tell($("playerproblem"), { key: "player.problem", why: words });
  if (words.key === "episodes.changed") reload();
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
  showFindings($("playerfindings"), card.findings);
  showKept();
}

function trace() {
  if (!shown.steps) return;
  const { action_names: actions, state_names: states, stride, takeover, ...rows } = shown.steps;
  shown.traces = [
    new Traces(t("player.actions"), actions, rows.actions, stride, takeover),
    new Traces(t("player.states"), states, rows.states, stride, takeover),
  ];
  $("traces").replaceChildren(...shown.traces.map(({ element }) => element));
}

// --- playing ---------------------------------------------------------------------------------------------

function run() {
  const session = shown;
  if (!session) return;
  session.running = true;
  label($("playpause"), "player.pause");
  if (session.step >= session.kept[1]) Object.assign(session, { step: session.kept[0], drawn: -1 });
  const periodMs = 1000 * (session.steps?.period_s ?? 1 / (session.card.declared_rate_hz || 10));
  const turn = session.turn = {}; // a tick of the turn before may still be waiting
  let dueMs = performance.now();
  const tick = (nowMs) => {
    if (shown !== session || !session.running || session.turn !== turn) return;
    const next = session.drawn === session.step ? session.step + 1 : session.step;
    if (next > session.kept[1]) { pause(); return; }
    // An image that is not here yet is waited for, not skipped.
    if (nowMs >= dueMs && session.frames.get(session.canvases[0].camera, next)) {
      dueMs = Math.max(dueMs + periodMs, nowMs - periodMs);
      session.step = next;
      paint(next);
    } else session.frames.want(next);
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
  // The last place of a fast drag wins.
  const wanted = () => shown === session && session.step === step && !session.running;
  while (wanted()) {
    await session.frames.ready(step);
    if (wanted() && await paint(step)) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

// Returns whether there was an image to show.
async function paint(step) {
  const session = shown;
  session.frames.want(step);
  $("scrub").value = step;
  text("playerstep", t("player.at", { step, last: session.card.steps - 1 }));
  for (const traces of session.traces) traces.draw(step, session.card.steps, session.kept);
  session.drawn = step;
  const painted = await Promise.all(session.canvases.map(async ({ camera, canvas }, index) => {
    const image = session.frames.get(camera, step);
    const bitmap = image && await createImageBitmap(image).catch(() => null);
    if (!bitmap) return false;
    if (session.drawn === step) {
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      if (index === 0) {
        ring(canvas, session.steps?.target?.[Math.floor(step / session.steps.stride)]);
        cross(canvas, session.cursor);
      }
    }
    bitmap.close();
    return true;
  }));
  return painted[0];
}

// The marked target.
function ring(canvas, place) {
  if (!place || place[0] < 0) return;
  draw(canvas, (pen) => pen.arc(place[0] + 0.5, place[1] + 0.5, 8, 0, 2 * Math.PI));
}

// The cross that the arrow keys move.
function cross(canvas, place) {
  if (!place) return;
  const [x, y] = [place[0] + 0.5, place[1] + 0.5];
  draw(canvas, (pen) => {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      pen.moveTo(x + 3 * dx, y + 3 * dy);
      pen.lineTo(x + 14 * dx, y + 14 * dy);
    }
  });
}

// Draws in white with a dark rim, which shows on every image.
function draw(canvas, shape) {
  const pen = canvas.getContext("2d");
  for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    shape(pen);
    pen.stroke();
  }
}

// --- correcting ------------------------------------------------------------------------------------------

// Sends an edit of the open episode; `undo(reply)` returns how to take it back. The version says which file is meant.
async function edit(action, body, undo) {
  const session = shown;
  const { episode_id: id } = session.card;
  pause();
  // One after the other, each on what the one before has left.
  newestEdit = newestEdit.then(() => own(() => post(`/api/episodes/${id}/${action}?v=${session.card.version}`, body)));
  const reply = await newestEdit;
  if (reply.ok && reply.episode) renew(session, reply.episode);
  toast(reply.ok ? { key: `player.done.${action}`, id } : reply.words, reply.ok);
  if (reply.ok) edited({ words: { key: `player.done.${action}`, id }, run: () => own(undo(reply)) });
  else if (reply.words.key === "episodes.changed" && shown === session) reload();
  return reply;
}

// What this page itself changes is not news to it.
async function own(send) {
  edits += 1;
  $("undo").disabled = true; // it would take back the one before
  try {
    return await send();
  } finally {
    edits -= 1;
    $("undo").disabled = edits > 0;
  }
}

// Takes the card that an edit has returned.
function renew(session, card) {
  session.card = session.frames.episode = { ...card, findings: session.card.findings };
  if (shown === session) describe();
}

async function relabel(changes) {
  const { episode_id: id, language, task, category, outcome } = shown.card;
  const before = { language, task, category, outcome };
  const changed = Object.keys(changes).filter((name) => changes[name] !== before[name]);
  if (!changed.length) return;
  const old = Object.fromEntries(changed.map((name) => [name, before[name]]));
  await edit("relabel", changes, ({ episode }) => () => post(`/api/episodes/${id}/relabel?v=${episode.version}`, old));
}

async function trim() {
  const [first, last] = shown.kept;
  const reply = await edit("trim", { first, last }, ({ episode, undo }) => () => post(`/api/restore?v=${episode.version}`, undo));
  if (reply.ok) play(reply.episode);
}

async function discard() {
  const reply = await edit("discard", {}, ({ undo }) => () => post("/api/restore", undo));
  if (reply.ok) close();
}

async function mark(column, row) {
  const { episode_id: id } = shown.card;
  marking(false);
  const reply = await edit("target", { column, row }, ({ episode, before }) => () => (before
    ? post(`/api/episodes/${id}/target?v=${episode.version}`, { column: before[0], row: before[1] })
    : post(`/api/episodes/${id}/unmark?v=${episode.version}`)));
  if (!reply.ok) return;
  const steps = await get(`/api/episodes/${id}/steps`);
  if (steps.ok && shown?.card.episode_id === id) { shown.steps = steps; paint(shown.step); }
}

// The target is clicked, or the arrow keys move a cross to it and Enter marks it.
function marking(on) {
  const { canvas } = shown.canvases[0];
  shown.cursor = on ? [Math.floor(canvas.width / 2), Math.floor(canvas.height / 2)] : null;
  $("playerimages").classList.toggle("marking", on);
  $("markhint").hidden = !on;
  const properties = { tabindex: "0", role: "application", "aria-label": t("player.mark"), "aria-describedby": "markhint" };
  for (const [name, value] of Object.entries(properties)) {
    if (on) canvas.setAttribute(name, value);
    else canvas.removeAttribute(name);
  }
  (on ? canvas : $("mark")).focus();
  paint(shown.step);
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveCross(event) {
  const { canvas } = shown.canvases[0];
  if (event.target !== canvas || !shown.cursor || !(event.key in MOVES || event.key === "Enter")) return;
  event.preventDefault();
  event.stopPropagation(); // elsewhere they drive
  if (event.key === "Enter") { mark(...shown.cursor); return; }
  const size = event.shiftKey ? 10 : 1;
  const [x, y] = shown.cursor.map((at, axis) => at + size * MOVES[event.key][axis]);
  shown.cursor = [Math.max(0, Math.min(canvas.width - 1, x)), Math.max(0, Math.min(canvas.height - 1, y))];
  paint(shown.step);
}

function clickTarget(event) {
  const { canvas } = shown.canvases[0];
  if (event.target !== canvas || !shown.cursor) return;
  const box = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
  mark(column, Math.floor(((event.clientY - box.top) / box.height) * canvas.height));
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
$("mark").addEventListener("click", () => { pause(); marking(!shown.cursor); });
$("playerimages").addEventListener("click", clickTarget);
$("playerimages").addEventListener("keydown", moveCross);
$("relabel").addEventListener("submit", (event) => {
  event.preventDefault();
  document.activeElement?.blur();
  relabel({ language: $("playerlanguage").value.trim(), task: $("playertask").value.trim(), category: $("playercategory").value });
});
for (const button of document.querySelectorAll("[data-relabel]")) {
  button.addEventListener("click", () => relabel({ outcome: button.dataset.relabel }));
}
addEventListener("resize", () => { if (shown) paint(shown.step); });
document.addEventListener("language", () => {
  if (!shown) return;
  trace();
  describe();
});
