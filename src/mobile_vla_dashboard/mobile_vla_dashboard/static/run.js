// The Run view: what the policy does.

import { press, toast } from "/api.js";
import { card } from "/card.js";
import { $, gigabytes, milliseconds, text, unit } from "/dom.js";

export function showRun({ policy }) {
  card($("policy"), policy);
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

$("instruct").addEventListener("submit", (event) => {
  event.preventDefault();
  // Leave the field, so that the space bar stops the robot again.
  $("instruction").blur();
  const instruction = $("instruction").value.trim();
  if (instruction) press("/api/policy/instruction", { instruction });
  else toast({ key: "policy.empty" }, false);
});
$("unfollow").addEventListener("click", () => press("/api/policy/instruction", { instruction: "" }));
