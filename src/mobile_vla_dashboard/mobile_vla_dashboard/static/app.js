// The page: shows what the server sends, and sends what is pressed. Text from the robot only becomes textContent.

import { drive, releaseStick } from "/drive.js";

const $ = (id) => document.getElementById(id);
const HEADER_BYTES = 13; // camera u8, sequence u32, capture stamp u64 [ns]; the JPEG follows

let state = null;
let socket = null;
let retryMs = 500;
let tiles = [];
let toastTimer = 0;

// --- incoming -----------------------------------------------------------------------------------------------

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws/view`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { retryMs = 500; linked(true); };
  socket.onmessage = (event) => {
    if (typeof event.data === "string") show(JSON.parse(event.data));
    else paint(event.data, event.target);
  };
  socket.onclose = () => {
    linked(false);
    releaseStick();
    setTimeout(connect, retryMs);
    retryMs = Math.min(retryMs * 1.6, 3000);
  };
}

function linked(yes) {
  $("link").textContent = yes ? "live" : "no connection";
  $("link").classList.toggle("off", !yes);
  document.body.classList.toggle("lost", !yes);
}

// An image is acknowledged once it is on the screen; at most two are on their way, so a slow link shows fewer images,
// never older ones. A hidden page acknowledges when it is visible again.
async function paint(buffer, from) {
  const view = new DataView(buffer);
  const camera = view.getUint8(0);
  const sequence = view.getUint32(1);
  const stampMs = Number(view.getBigUint64(5)) / 1e6;
  const tile = tiles[camera];
  if (tile) {
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, HEADER_BYTES)], { type: "image/jpeg" }));
      await nextPaint();
      if (sequence > tile.sequence || sequence + 1000 < tile.sequence) {
        tile.sequence = sequence;
        if (tile.canvas.width !== bitmap.width || tile.canvas.height !== bitmap.height) {
          tile.canvas.width = bitmap.width;
          tile.canvas.height = bitmap.height;
        }
        tile.canvas.getContext("2d").drawImage(bitmap, 0, 0);
        tile.painted.push(performance.now());
        document.dispatchEvent(new CustomEvent("painted", { detail: { camera, sequence, stampMs, atMs: Date.now() } }));
      }
      bitmap.close();
    } catch {
      // An image that does not decode: the one before it stays.
    }
  }
  if (from.readyState === WebSocket.OPEN) from.send(JSON.stringify({ camera, ack: sequence }));
}

function nextPaint() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}

function makeTiles(cameras) {
  tiles = cameras.map((camera) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 224;
    const words = document.createElement("p");
    const caption = document.createElement("figcaption");
    const name = document.createElement("span");
    const fps = document.createElement("span");
    name.textContent = `${camera.name} camera`;
    fps.className = "fps";
    caption.append(name, fps);
    figure.append(canvas, words, caption);
    return { figure, canvas, words, fps, sequence: 0, painted: [] };
  });
  $("cameras").replaceChildren(...tiles.map((tile) => tile.figure));
}

// --- shown -----------------------------------------------------------------------------------------------

const unit = (value, digits, name) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} ${name}`.trim());
const milliseconds = (seconds) => (seconds === null || seconds === undefined ? "–" : `${(seconds * 1000).toFixed(0)} ms`);
const gigabytes = (bytes) => (bytes ? `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 0)} GB` : "–");
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };

function show(next) {
  state = next;
  if (tiles.length !== state.cameras.length) makeTiles(state.cameras);
  text("robot", state.robot);
  state.cameras.forEach((camera, index) => {
    const tile = tiles[index];
    const now = performance.now();
    tile.painted = tile.painted.filter((at) => now - at < 2000);
    tile.words.textContent = camera.words;
    tile.fps.textContent = camera.tone === "ok" ? `${(tile.painted.length / 2).toFixed(0)} fps` : "";
  });
  for (const name of ["gate", "policy", "recorder"]) card($(name), state[name]);
  showGate(state.gate);
  showPolicy(state.policy);
  showRecorder(state.recorder);
  showProgress(state.progress.tasks);
  drive.show(state);
}

function card(element, content) {
  element.className = `card ${content.tone}${content.present ? "" : " off"}`;
  element.querySelector(".headline span").textContent = content.headline;
  element.querySelector(".detail").textContent = content.detail;
}

function showGate(gate) {
  $("resume").hidden = !gate.stopped;
  $("stop").classList.toggle("held", gate.stopped);
  text("stop", gate.stopped ? "STOPPED" : "STOP");
  if (gate.stopped) alarm("", false);
  if (!gate.present) return;
  text("vx", unit(gate.velocity[0], 2, "m/s"));
  text("vy", unit(gate.velocity[1], 2, "m/s"));
  text("wz", unit(gate.velocity[2], 2, "rad/s"));
  text("grip", gate.gripper === null ? "–" : gate.gripper > 0.5 ? "closed" : "open");
  text("refused", String(gate.refused));
  text("timeouts", String(gate.timeouts));
}

function showPolicy(policy) {
  $("following").hidden = !policy.instruction;
  text("following", policy.instruction || "");
  for (const control of $("instruct").elements) control.disabled = !policy.ready;
  if (!policy.present) return;
  text("rate", unit(policy.inference_rate_hz, 1, "Hz"));
  text("commands", unit(policy.command_rate_hz, 1, "Hz"));
  text("p50", milliseconds(policy.latency_p50_s));
  text("p99", milliseconds(policy.latency_p99_s));
  text("starved", String(policy.starved_ticks));
  text("memory", gigabytes(policy.memory_bytes));
}

function showRecorder(recorder) {
  $("start").hidden = !recorder.present || recorder.recording;
  $("running").hidden = !recorder.recording;
  $("start").querySelector("button").disabled = !recorder.ready;
  if (!recorder.present) return;
  $("language").placeholder = recorder.next_language || "what the robot should do";
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
  const key = JSON.stringify(tasks);
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
  $("progress").replaceChildren(...[...categories].map(([category, sum]) => {
    const row = document.createElement("div");
    const label = document.createElement("div");
    label.className = "bar";
    const name = document.createElement("span");
    name.textContent = category || "without category";
    const count = document.createElement("span");
    count.textContent = (sum.wanted ? `${sum.done} of ${sum.wanted}` : `${sum.done}`) + (sum.failed ? `, ${sum.failed} failed` : "");
    label.append(name, count);
    row.append(label);
    if (sum.wanted) {
      const track = document.createElement("div");
      track.className = "track";
      const fill = document.createElement("i");
      fill.style.width = `${Math.min(100, (100 * sum.done) / sum.wanted)}%`;
      track.append(fill);
      row.append(track);
    }
    return row;
  }));
}

function toast(message, good) {
  $("toast").textContent = message;
  $("toast").className = good ? "" : "bad";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, good ? 4000 : 9000);
}

function alarm(message, on) {
  $("alarm").textContent = message;
  $("alarm").hidden = !on;
}

// --- pressed ---------------------------------------------------------------------------------------------

async function post(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body || {}),
      keepalive: true,
    });
    const reply = await response.json();
    return { ok: Boolean(reply.ok), message: reply.message || (response.ok ? "done" : `refused (${response.status})`) };
  } catch {
    return { ok: false, message: "no answer from the dashboard" };
  }
}

async function press(path, body) {
  const reply = await post(path, body);
  toast(reply.message, reply.ok);
  return reply.ok;
}

async function stop() {
  releaseStick();
  $("stop").textContent = "STOPPING";
  const reply = await post("/api/stop");
  if (reply.ok) alarm("", false);
  else alarm(`STOP: ${reply.message}.`, true);
  $("stop").textContent = reply.ok ? "STOPPED" : "STOP";
}

const typing = (element) => element.matches?.("textarea, select, input:not([type=range])");

// First of all handlers: the space bar would otherwise press the button that has the focus.
addEventListener("keydown", (event) => {
  const space = event.code === "Space" && !typing(event.target);
  if (event.key !== "Escape" && !space) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!event.repeat) stop();
}, true);
addEventListener("keyup", (event) => {
  if (event.code === "Space" && !typing(event.target)) event.preventDefault();
}, true);

// pointerdown, not click: a stop does not wait until the finger is lifted. A click without a pointer is Enter.
$("stop").addEventListener("pointerdown", (event) => { if (event.button === 0) stop(); });
$("stop").addEventListener("click", (event) => { if (event.detail === 0) stop(); });
$("resume").addEventListener("click", () => press("/api/resume"));

$("instruct").addEventListener("submit", (event) => {
  event.preventDefault();
  // Leave the field, so that the space bar stops the robot again.
  $("instruction").blur();
  const instruction = $("instruction").value.trim();
  if (instruction) press("/api/policy/instruction", { instruction });
  else toast("type an instruction first", false);
});
$("unfollow").addEventListener("click", () => press("/api/policy/instruction", { instruction: "" }));

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
    $("discard").textContent = "Really discard?";
    discardTimer = setTimeout(disarm, 3000);
  }
});
function disarm() {
  delete $("discard").dataset.sure;
  $("discard").textContent = "Discard";
}

connect();
