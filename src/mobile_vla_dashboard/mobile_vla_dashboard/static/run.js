// The Run view: what the policy does and predicts, and what it is told.

import { press, toast } from "/api.js";
import { card } from "/card.js";
import { offerInstructions } from "/chips.js";
import { $, gigabytes, milliseconds, text, unit } from "/dom.js";
import { onLost } from "/live.js";
import { showPrediction } from "/prediction.js";
import { Spark } from "/spark.js";
import { t, tell } from "/words.js";

const TIME_LIMIT_S = 120;

const sparks = { rate: new Spark($("ratespark")), latency: new Spark($("latencyspark")), starved: new Spark($("starvedspark")) };
let starvedBefore = null;
let offered = false; // the plan's instructions

export function showRun({ policy, run, gripper }) {
  card($("policy"), policy);
  $("following").hidden = !policy.instruction;
  text("following", policy.instruction || "");
  for (const control of $("instruct").elements) control.disabled = !policy.ready;
  remember(policy);
  if (policy.present) figures(policy);
  if (!run) return;
  if (!offered) { offered = true; offerInstructions(); }
  for (const spark of Object.values(sparks)) spark.draw();
  showGoal(run.goal);
  showShadow(run.shadow);
  showPrediction(run, gripper);
}

function remember(policy) {
  const starved = policy.present ? policy.starved_ticks : null;
  sparks.rate.add(policy.inference_rate_hz);
  sparks.latency.add(policy.latency_p50_s);
  sparks.starved.add(starved === null || starvedBefore === null ? null : Math.max(0, starved - starvedBefore));
  starvedBefore = starved;
}

function figures(policy) {
  text("rate", unit(policy.inference_rate_hz, 1, "Hz"));
  text("commands", unit(policy.command_rate_hz, 1, "Hz"));
  text("p50", milliseconds(policy.latency_p50_s));
  text("p99", milliseconds(policy.latency_p99_s));
  text("starved", String(policy.starved_ticks));
  text("memory", gigabytes(policy.memory_bytes));
}

function showGoal(goal) {
  $("goal").hidden = !goal;
  if (!goal) return;
  $("goal").className = `goal ${goal.tone}`;
  tell($("goal").querySelector(".headline span"), goal.headline);
  text("goalfigures", t("goal.figures", { steps: goal.steps, seconds: (goal.elapsed_s ?? 0).toFixed(1) }));
  tell($("goal").querySelector(".detail"), goal.detail);
}

function showShadow(shadow) {
  $("shadow").hidden = !shadow;
  if (!shadow) return;
  text("shadowsamples", String(shadow.samples));
  text("shadowmean", unit(shadow.velocity_mean_m_s, 3, "m/s"));
  text("shadowp95", unit(shadow.velocity_p95_m_s, 3, "m/s"));
  text("shadowyaw", unit(shadow.yaw_rate_mean_rad_s, 3, "rad/s"));
  text("shadowgrip", shadow.gripper_agreement === null ? "–" : `${Math.round(100 * shadow.gripper_agreement)} %`);
}

$("instruct").addEventListener("submit", (event) => {
  event.preventDefault();
  // Leave the field, so that the space bar stops the robot again.
  $("instruction").blur();
  const instruction = $("instruction").value.trim();
  if (!instruction) toast({ key: "policy.empty" }, false);
  else if ($("arrive").checked) press("/api/policy/execute", { instruction, time_limit_s: TIME_LIMIT_S });
  else press("/api/policy/instruction", { instruction });
});
$("unfollow").addEventListener("click", () => press("/api/policy/instruction", { instruction: "" }));

// Asked again when the view is opened and when the connection is back: the plan may be another.
onLost(() => { offered = false; });
document.addEventListener("view", () => { offered = false; });
