// Who is in command, and why; shown in every view.

import { $, text, unit } from "/dom.js";
import { card } from "/card.js";
import { t } from "/words.js";

export function showGate(gate, hasGripper) {
  card($("gate"), gate);
  $("resume").hidden = !gate.stopped;
  const phase = $("stop").dataset.phase;
  // A press that is on its way is not overwritten by an older state.
  if (phase !== "stopping") $("stop").dataset.phase = gate.stopped ? "stopped" : "ready";
  if (gate.stopped) $("alarm").hidden = true;
  $("gripbox").hidden = !hasGripper;
  if (!gate.present) return;
  text("vx", unit(gate.velocity[0], 2, "m/s"));
  text("vy", unit(gate.velocity[1], 2, "m/s"));
  text("wz", unit(gate.velocity[2], 2, "rad/s"));
  text("grip", gate.gripper === null ? "–" : t(gate.gripper > 0.5 ? "gate.gripper.closed" : "gate.gripper.open"));
  text("refused", String(gate.refused));
  text("timeouts", String(gate.timeouts));
}
