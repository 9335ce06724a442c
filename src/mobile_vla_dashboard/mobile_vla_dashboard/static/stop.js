// STOP and Resume. Imports nothing, so that they work whatever happens to the rest of the page.

const button = document.getElementById("stop");

// The three words of the button are in the page; this chooses one.
function phase(name) {
  button.dataset.phase = name;
}

async function post(path) {
  try {
    const response = await fetch(path, { method: "POST", keepalive: true });
    return await response.json();
  } catch {
    return { ok: false, words: { key: "reply.none" }, message: "no answer from the dashboard" };
  }
}

async function stop() {
  document.dispatchEvent(new CustomEvent("stopping"));
  phase("stopping");
  const reply = await post("/api/stop");
  phase(reply.ok ? "stopped" : "ready");
  document.getElementById("alarm").hidden = reply.ok;
  document.getElementById("alarmwords").textContent = reply.message;
  document.dispatchEvent(new CustomEvent("stopreply", { detail: reply }));
}

async function resume() {
  document.dispatchEvent(new CustomEvent("resumereply", { detail: await post("/api/resume") }));
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
document.getElementById("resume").addEventListener("click", resume);
