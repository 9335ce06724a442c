// What the policy predicts: the chunk as arrows and over the image, and its heatmaps over the image.

import { $, make, text } from "/dom.js";
import { tiles } from "/live.js";
import { recall, remember } from "/store.js";
import { t } from "/words.js";

const PATH = "#ffd54a";
const TARGET = [255, 64, 129]; // where the policy sees the target
const ROBOT = [64, 200, 255]; // where it sees the robot
const LEAST_M = 0.1; // the arrows show at least this far, so that standing still looks still

const grid = document.createElement("canvas");

for (const name of ["path", "target", "robot"]) {
  const box = $(`show${name}`);
  box.checked = recall(`show${name}`) !== "no";
  box.addEventListener("change", () => remember(`show${name}`, box.checked ? "yes" : "no"));
}

export function showPrediction(run, hasGripper) {
  const { chunk, maps } = run;
  $("prediction").hidden = !chunk;
  $("mapchoice").hidden = !maps.target;
  $("pathchoice").hidden = !chunk?.path;
  for (const [index, tile] of tiles.entries()) overlay(tile, index, chunk, maps);
  if (chunk) arrows(chunk, hasGripper);
}

function overlay(tile, index, chunk, maps) {
  const pen = tile.overlay.getContext("2d");
  const { width, height } = tile.overlay;
  pen.clearRect(0, 0, width, height);
  for (const [name, colour] of [["target", TARGET], ["robot", ROBOT]]) {
    const map = maps[name];
    if (map && map.camera === tile.name && $(`show${name}`).checked) heat(pen, map, colour, width, height);
  }
  const seen = maps.robot ? maps.robot.camera === tile.name : index === 0;
  if (chunk?.path && seen && $("showpath").checked) {
    line(pen, chunk.path.map(([column, row]) => [column * width, row * height]), PATH, 5);
  }
}

function heat(pen, map, [red, green, blue], width, height) {
  const cells = Uint8Array.from(atob(map.cells), (letter) => letter.charCodeAt(0));
  const image = new ImageData(map.columns, map.rows);
  cells.forEach((value, index) => image.data.set([red, green, blue, value * 0.75], 4 * index));
  grid.width = map.columns;
  grid.height = map.rows;
  grid.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(grid, 0, 0, width, height);
}

// A line with a dot for every step and an arrow at its end, dark around it so that it shows on every floor.
function line(pen, points, colour, width) {
  pen.lineCap = pen.lineJoin = "round";
  for (const [style, extra] of [["rgb(0 0 0 / .65)", 4], [colour, 0]]) {
    pen.strokeStyle = pen.fillStyle = style;
    pen.lineWidth = width + extra;
    pen.beginPath();
    points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
    for (const [x, y] of points) dot(pen, x, y, width + extra / 2);
    arrowhead(pen, points, 3 * width);
  }
}

function dot(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function arrowhead(pen, points, size) {
  const [[x0, y0], [x1, y1]] = points.slice(-2);
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length < 1) return;
  const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
  pen.beginPath();
  pen.moveTo(x1 - size * (ux - 0.6 * uy), y1 - size * (uy + 0.6 * ux));
  pen.lineTo(x1, y1);
  pen.lineTo(x1 - size * (ux + 0.6 * uy), y1 - size * (uy - 0.6 * ux));
  pen.stroke();
}

// The places that the steps lead through, in metres: [forward, left], from where the robot is.
function places(steps) {
  let [x, y, yaw] = [0, 0, 0];
  const points = [[0, 0]];
  for (const [forward, left, turn] of steps) {
    x += forward * Math.cos(yaw) - left * Math.sin(yaw);
    y += forward * Math.sin(yaw) + left * Math.cos(yaw);
    yaw += turn;
    points.push([x, y]);
  }
  return points;
}

function arrows({ steps, gripper }, hasGripper) {
  const canvas = $("arrows");
  const pen = canvas.getContext("2d");
  const points = places(steps);
  const reach = Math.max(LEAST_M, ...points.map(([x, y]) => Math.hypot(x, y)));
  const middle = canvas.width / 2;
  const scale = (middle - 24) / reach;
  const style = getComputedStyle(canvas);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = style.getPropertyValue("--line");
  pen.lineWidth = 2;
  for (const share of [0.5, 1]) {
    pen.beginPath();
    pen.arc(middle, middle, share * reach * scale, 0, 2 * Math.PI);
    pen.stroke();
  }
  line(pen, points.map(([x, y]) => [middle - y * scale, middle - x * scale]), style.getPropertyValue("--blue"), 4);
  const [x, y] = points.at(-1);
  text("nextforward", `${x.toFixed(2)} m`);
  text("nextleft", `${y.toFixed(2)} m`);
  text("reach", `${reach.toFixed(2)} m`);
  canvas.setAttribute("aria-label", t("run.arrows.label", { forward: x.toFixed(2), left: y.toFixed(2) }));
  $("nextgripperbox").hidden = !hasGripper;
  const bars = gripper.map((share) => make("i", { style: { height: `${Math.round(100 * share)}%` } }));
  $("nextgripper").replaceChildren(...bars);
}
