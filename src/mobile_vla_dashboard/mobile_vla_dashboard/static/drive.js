// Driving from the page. While the pad or an arrow key is held, the stick goes out at 20 Hz; the robot's side stops
// when it hears nothing for a quarter of a second, whatever the reason. Values are fractions of the robot's limits.

const $ = (id) => document.getElementById(id);
const SEND_MS = 50;
const HEARTBEAT_MS = 1000;
const ARROWS = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, 1], ArrowRight: [0, -1] };

let socket = null;
let seated = false;
let reason = "";
let pad = null; // [forward, left] of the finger on the pad
let closed = false; // where the gripper was last sent
const keys = new Set();
let sending = false;
let spokeMs = 0;

const speed = () => Number($("speed").value) / 100;

function stick() {
  if (pad) return pad;
  let forward = 0;
  let left = 0;
  for (const key of keys) {
    forward += ARROWS[key][0];
    left += ARROWS[key][1];
  }
  const length = Math.hypot(forward, left) || 1;
  return [forward / Math.max(1, length), left / Math.max(1, length)];
}

function send(message) {
  if (!seated || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify(message));
  spokeMs = performance.now();
}

function tick() {
  const held = pad !== null || keys.size > 0;
  const [forward, left] = held ? stick() : [0, 0];
  draw(forward, left);
  if (held) {
    sending = true;
    send({ x: forward * speed(), y: left * speed() });
  } else if (sending) {
    sending = false;
    send({ release: true });
  } else if (performance.now() - spokeMs > HEARTBEAT_MS) {
    send({});
  }
}

export function releaseStick() {
  pad = null;
  keys.clear();
  tick();
}

function draw(forward, left) {
  $("stick").style.transform = `translate(${-left * 4.2}rem, ${-forward * 4.2}rem)`;
}

function take() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws/drive`);
  reason = "";
  socket.onmessage = () => {
    seated = true;
    $("pad").focus({ preventScroll: true });
    render();
  };
  socket.onclose = (event) => {
    seated = false;
    reason = event.reason || (event.code === 1000 ? "" : "the connection was lost");
    releaseStick();
    render();
  };
}

function leave() {
  releaseStick();
  socket?.close(1000);
}

let state = null;
function render() {
  const element = $("drive");
  if (!state) return;
  element.hidden = !state.drive.possible;
  const other = !seated && state.drive.driver;
  element.className = `card ${seated ? "active seated" : other ? "warn" : "idle"}`;
  element.querySelector(".headline span").textContent = seated
    ? "You have the wheel"
    : other ? `${other} has the wheel` : reason ? `Nobody has the wheel: ${reason}` : "Nobody has the wheel";
  $("seat").textContent = seated ? "Let go of the wheel" : "Take the wheel";
  $("seat").disabled = Boolean(other);
  $("gripper").disabled = !seated;
  $("gripper").textContent = closed ? "Open gripper" : "Close gripper";
  $("pad").querySelectorAll(".left, .right").forEach((arrow) => {
    arrow.title = state.base === "holonomic" ? "sideways" : "turn";
  });
}

export const drive = {
  show(next) {
    state = next;
    if (!seated && next.gate.gripper !== null && next.gate.gripper !== undefined) closed = next.gate.gripper > 0.5;
    render();
  },
};

function moveGripper() {
  if (!seated) return;
  closed = !closed;
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
  // A thumb is never exactly in the middle: the inner tenth is still.
  pad = length < 0.1 ? [0, 0] : [forward, left];
}

$("pad").addEventListener("pointerdown", (event) => {
  if (!seated || event.button !== 0) return;
  $("pad").setPointerCapture(event.pointerId);
  point(event);
  tick();
});
$("pad").addEventListener("pointermove", (event) => { if (pad) point(event); });
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  $("pad").addEventListener(name, () => { if (pad) { pad = null; tick(); } });
}
$("pad").addEventListener("contextmenu", (event) => event.preventDefault());

const typing = (element) => element.matches?.("textarea, select, input");
addEventListener("keydown", (event) => {
  if (!seated || typing(event.target) || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key in ARROWS) {
    event.preventDefault();
    if (!event.repeat) { keys.add(event.key); tick(); }
  } else if (event.code === "KeyG" && !event.repeat) {
    moveGripper();
  }
});
addEventListener("keyup", (event) => { if (keys.delete(event.key)) tick(); });

// Whatever takes the page out of sight or out of the hand stops the robot.
addEventListener("blur", releaseStick);
addEventListener("pagehide", leave);
document.addEventListener("visibilitychange", () => { if (document.hidden) releaseStick(); });

$("seat").addEventListener("click", () => (seated ? leave() : take()));
$("gripper").addEventListener("click", moveGripper);
$("speed").addEventListener("input", () => { $("speedshown").textContent = `${$("speed").value} %`; });
setInterval(tick, SEND_MS);
