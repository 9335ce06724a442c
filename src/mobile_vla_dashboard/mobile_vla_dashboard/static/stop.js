// STOP and Resume. Imports nothing, so that they work whatever happens to the rest of the page.

const button = document.getElementById("stop");
const alarm = document.getElementById("alarm");

// How often a STOP is sent, and how long each may take; the dashboard itself tries for 1.3 s.
const ATTEMPTS = 3;
const STOP_MS = 1500;
const RESUME_MS = 6000;

let presses = 0;
let pending = 0; // the press that is not confirmed yet

// The three words of the button are in the page; this chooses one.
function phase(name) {
  button.dataset.phase = name;
}

async function post(path, limitMs) {
  try {
    const response = await fetch(path, { method: "POST", keepalive: true, signal: AbortSignal.timeout(limitMs) });
    return await response.json();
  } catch {
    return { ok: false, words: { key: "reply.none" }, message: "no answer from the dashboard" };
  }
}

async function stop() {
  presses += 1;
  const press = pending = presses;
  phase("stopping");
  // The open WebSocket takes it, too: requests wait for one of six connections, which others may hold.
  document.dispatchEvent(new CustomEvent("stopping", { detail: press }));
  for (let attempt = 1; attempt <= ATTEMPTS && pending === press; attempt += 1) {
    answered(press, await post("/api/stop", STOP_MS), attempt === ATTEMPTS);
  }
}

// The alarm comes with the first attempt that fails, and goes with the first that is confirmed.
function answered(press, reply, last) {
  if (press !== pending) return;
  if (reply.ok || last) pending = 0;
  phase(reply.ok ? "stopped" : last ? "ready" : "stopping");
  document.getElementById("alarmwords").textContent = reply.message;
  alarm.hidden = reply.ok;
  document.dispatchEvent(new CustomEvent("stopreply", { detail: reply }));
}

async function resume() {
  document.dispatchEvent(new CustomEvent("resumereply", { detail: await post("/api/resume", RESUME_MS) }));
}

const typing = (element) => element.matches?.("textarea, select, input:not([type=range], [type=checkbox])");

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
button.addEventListener("pointerdown", (event) => { if (event.button === 0) stop(); });
button.addEventListener("click", (event) => { if (event.detail === 0) stop(); });
document.addEventListener("stop", stop); // a gamepad's button
document.addEventListener("stopanswer", ({ detail }) => answered(detail.stop, detail, false)); // over the WebSocket
document.getElementById("resume").addEventListener("click", resume);
