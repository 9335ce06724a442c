// The page: connects its parts.

import { toast, wordsOf } from "/api.js";
import { showCollect } from "/collect.js";
import { $, text } from "/dom.js";
import { drive, leave, releaseStick } from "/drive.js";
import { showGate } from "/gate.js";
import { connect, onLost, onState } from "/live.js";
import { showRun } from "/run.js";
import { showTrials } from "/trials.js";
import { suggest } from "/views.js";
import { tell } from "/words.js";

function show(state) {
  suggest(state);
  text("robot", state.robot);
  showGate(state.gate, state.gripper);
  showCollect(state);
  showRun(state);
  showTrials(state);
  drive.show(state);
}

onState(show);
onLost(leave);
document.addEventListener("stopping", releaseStick);
document.addEventListener("stopreply", (event) => {
  const words = wordsOf(event.detail);
  // The alarm has its own words for what to do.
  if (!event.detail.ok) tell($("alarmwords"), words.why ?? words);
});
document.addEventListener("resumereply", (event) => toast(wordsOf(event.detail), event.detail.ok));
connect();
