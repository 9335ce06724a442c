// A gamepad at this computer. Its deadman button must be held; the same buttons as those of the robot's joystick node.

const DEADMAN = 4; // left shoulder
const [CLOSE, OPEN, STOP] = [0, 1, 8]; // A, B, back
const DEAD_ZONE = 0.12;

// A deadman that is held when control is taken, or when the robot is stopped, must be released first.
let armed = false;
let before = [];

export function disarmGamepad() {
  armed = false;
}

// What the gamepad asks for now: its stick as [forward, left, turn left] or null, and the button that has just gone down.
export function readGamepad() {
  const pad = [...(navigator.getGamepads?.() ?? [])].find((each) => each?.connected && each.mapping === "standard");
  const nothing = { connected: Boolean(pad), stick: null, pressed: "" };
  // Another window may have the operator's attention: then the deadman is not meant for this page.
  if (!pad || document.hidden || !document.hasFocus()) {
    armed = false;
    before = [];
    return nothing;
  }
  const down = pad.buttons.map((button) => button.pressed);
  const fresh = (index) => Boolean(down[index] && before.length && !before[index]);
  const pressed = fresh(STOP) ? "stop" : fresh(OPEN) ? "open" : fresh(CLOSE) ? "close" : "";
  before = down;
  if (!down[DEADMAN]) armed = true;
  if (!armed || !down[DEADMAN]) return { ...nothing, pressed };
  const [side, ahead, turn] = [0, 1, 2].map((axis) => beyond(pad.axes[axis]));
  return { ...nothing, pressed, stick: [-ahead, -side, -turn] };
}

// A stick never rests exactly in the middle. What is beyond the dead zone begins at zero.
function beyond(value) {
  const size = Math.min(1, Math.max(0, (Math.abs(value ?? 0) - DEAD_ZONE) / (1 - DEAD_ZONE)));
  return size ? Math.sign(value) * size : 0;
}
