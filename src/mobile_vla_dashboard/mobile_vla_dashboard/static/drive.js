// Driving from the page. While the pad or a key is held, the stick is sent at 20 Hz; the robot's side stops after a
// quarter of a second without a message, whatever the reason. Values are fractions of the robot's limits.

import { $ } from "/dom.js";
import { disarmGamepad, readGamepad } from "/gamepad.js";
import { typing } from "/keys.js";
import { recall, remember } from "/store.js";
import { label, t, tell } from "/words.js";

const SEND_MS = 50;
const BEAT_MS = 500; // the dashboard answers each beat
const LOST_MS = 2000; // without an answer for this long, the connection is lost
// [forward, left, turn left] of a held key.
const KEYS = {
  ArrowUp: [1, 0, 0], ArrowDown: [-1, 0, 0], ArrowLeft: [0, 1, 0], ArrowRight: [0, -1, 0], KeyQ: [0, 0, 1], KeyE: [0, 0, -1],
};

// Why the dashboard ends control, by the code of the closed connection.
const ENDED = { 4403: "drive.off", 4408: "drive.silent", 4409: "drive.taken", 4429: "drive.flood" };

let socket = null;
let hasWheel = false;
let reason = ""; // why control ended: words, or the dashboard's own line
let pad = null; // [forward, left] of the finger on the pad
let pointer = null; // the finger or mouse that holds the pad
let game = null; // [forward, left, turn left] of a gamepad whose deadman is held
let closed = false; // last position sent to the gripper
const keys = new Set();
let sending = false;
let beatMs = 0;
let heardMs = 0;

const speed = () => Number($("speed").value) / 100;

function stick() {
  let [forward, left, turn] = [0, 0, 0];
  for (const key of keys) {
    forward += KEYS[key][0];
    left += KEYS[key][1];
    turn += KEYS[key][2];
  }
  if (game) [forward, left, turn] = game;
  if (pad) [forward, left] = pad;
  const length = Math.max(1, Math.hypot(forward, left));
  return [forward / length, left / length, turn];
}

function send(message) {
  if (!hasWheel || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify(message));
}

function tick() {
  const nowMs = performance.now();
  // No close event comes from a dashboard that hangs, or from a network that is gone.
  if (socket && nowMs - heardMs > LOST_MS) return end({ key: "drive.lost" });
  if (nowMs - beatMs > BEAT_MS) {
    beatMs = nowMs;
    send({ beat: true });
  }
  followGamepad();
  const held = pad !== null || game !== null || keys.size > 0;
  const [forward, left, turn] = held ? stick() : [0, 0, 0];
  draw(forward, left);
  if (held) {
    sending = true;
    send({ x: forward * speed(), y: left * speed(), turn: turn * speed() });
  } else if (sending) {
    sending = false;
    send({ release: true });
  }
}

function followGamepad() {
  const { connected, stick, pressed } = readGamepad();
  $("gamepadhint").hidden = !connected;
  if (pressed === "stop") document.dispatchEvent(new CustomEvent("stop"));
  game = hasWheel ? stick : null;
  if (!hasWheel) disarmGamepad();
  else if (pressed === "open" || pressed === "close") moveGripper(pressed === "close");
}

// Whatever is held, must be released and pressed again.
export function releaseStick() {
  pad = pointer = game = null;
  disarmGamepad();
  keys.clear();
  tick();
}

function draw(forward, left) {
  $("stick").style.transform = `translate(${-left * 4.2}rem, ${-forward * 4.2}rem)`;
}

function take() {
  if (socket) return; // a second press while the first is on its way
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = new WebSocket(`${scheme}://${location.host}/ws/drive`);
  socket = mine;
  heardMs = performance.now();
  reason = "";
  mine.onmessage = () => {
    if (mine !== socket) return;
    heardMs = performance.now();
    if (hasWheel) return;
    hasWheel = true;
    $("pad").focus({ preventScroll: true });
    render();
  };
  mine.onclose = (event) => {
    if (mine !== socket) return;
    const key = ENDED[event.code];
    end(key ? { key } : event.reason || (event.code === 1000 ? "" : { key: "drive.lost" }));
  };
}

function end(why) {
  const old = socket;
  socket = null;
  hasWheel = false;
  reason = why;
  releaseStick();
  old.close();
  render();
}

export function leave() {
  releaseStick();
  socket?.close(1000);
}

let state = null;
function render() {
  const element = $("drive");
  if (!state) return;
  element.hidden = !state.wheel.possible;
  const other = !hasWheel && state.wheel.operator;
  element.className = `card ${hasWheel ? "active driving" : other ? "warn" : "idle"}`;
  tell(element.querySelector(".headline span"), headline(other));
  label($("wheel"), hasWheel ? "drive.release" : "drive.take");
  $("wheel").disabled = Boolean(other);
  $("gripper").hidden = $("gripperkey").hidden = !state.gripper;
  $("gripper").disabled = !hasWheel;
  label($("gripper"), closed ? "gripper.open" : "gripper.close");
  for (const arrow of $("pad").querySelectorAll(".left, .right")) {
    arrow.title = t(state.base === "holonomic" ? "drive.sideways" : "drive.turn");
  }
}

function headline(other) {
  if (hasWheel) return { key: "drive.mine" };
  if (other) return { key: "drive.other", operator: other };
  return reason ? { key: "drive.ended", why: reason } : { key: "drive.nobody" };
}

export const drive = {
  show(next) {
    state = next;
    // Resume, in whichever page it is pressed, must not move the robot: what is held now must be pressed again.
    if (next.gate.stopped) releaseStick();
    if (!hasWheel && next.gate.gripper !== null && next.gate.gripper !== undefined) closed = next.gate.gripper > 0.5;
    render();
  },
};

function moveGripper(close) {
  if (!hasWheel || !state.gripper) return;
  closed = close;
  send({ gripper: closed ? 1 : 0 });
  render();
}

function point(event) {
  const box = $("pad").getBoundingClientRect();
  const radius = box.width / 2;
  let left = -(event.clientX - box.left - radius) / (radius * 0.8);
  let forward = -(event.clientY - box.top - radius) / (radius * 0.8);
  const length = Math.hypot(left, forward);
  if (length > 1) { left /= length; forward /= length; }
  // A thumb is never exactly in the middle: the inner tenth means standing still.
  pad = length < 0.1 ? [0, 0] : [forward, left];
}

$("pad").addEventListener("pointerdown", (event) => {
  // The finger that came first drives; others are ignored.
  if (!hasWheel || event.button !== 0 || pointer !== null) return;
  pointer = event.pointerId;
  $("pad").setPointerCapture(pointer);
  point(event);
  tick();
});
$("pad").addEventListener("pointermove", (event) => { if (event.pointerId === pointer) point(event); });
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  $("pad").addEventListener(name, (event) => {
    if (event.pointerId !== pointer) return;
    pad = pointer = null;
    tick();
  });
}
$("pad").addEventListener("contextmenu", (event) => event.preventDefault());

addEventListener("keydown", (event) => {
  if (event.key === "Meta") releaseKeys();
  if (!hasWheel || typing(event.target) || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.code in KEYS) {
    event.preventDefault();
    if (!event.repeat) { keys.add(event.code); tick(); }
  } else if (event.code === "KeyG" && !event.repeat) {
    moveGripper(!closed);
  }
});
addEventListener("keyup", (event) => {
  if (event.key === "Meta") releaseKeys();
  else if (keys.delete(event.code)) tick();
});

// macOS does not report keys that are released while its command key is held.
function releaseKeys() {
  keys.clear();
  tick();
}

// A page that loses the focus stops the robot; one that is hidden also gives up control.
addEventListener("blur", releaseStick);
addEventListener("pagehide", leave);
document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); });

$("wheel").addEventListener("click", () => (hasWheel ? leave() : take()));
$("gripper").addEventListener("click", () => moveGripper(!closed));
$("speed").addEventListener("input", () => {
  remember("speed", $("speed").value);
  showSpeed();
});
function showSpeed() {
  $("speedshown").textContent = `${$("speed").value} %`;
}
$("speed").value = recall("speed") || 50; // the slider itself keeps this within its limits
showSpeed();
setInterval(tick, SEND_MS);
