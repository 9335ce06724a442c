// The connection that brings images and states. Images are drawn as they come; states go to whoever asked for them.

import { $, make } from "/dom.js";
import { label, t, tell } from "/words.js";

const HEADER_BYTES = 13; // camera u8, sequence u32, capture stamp u64 [ns]; the JPEG follows

// One for each camera: { figure, canvas, overlay, ... }. The overlay lies over the image, for whoever draws on it.
export let tiles = [];

// The server sends five states a second. Without a message for this long, the connection is lost.
const LOST_MS = 2000;
const CONNECT_MS = 5000; // for a new connection
const CHECK_MS = 250;

const listeners = [];
const losers = [];
let retryMs = 500;
let last = null;
let socket = null; // null between two attempts to connect
let heardMs = 0;

// Calls `listener(state)` for every state, five times a second.
export function onState(listener) {
  listeners.push(listener);
}

// Calls `listener()` when the connection is lost.
export function onLost(listener) {
  losers.push(listener);
}

export function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = new WebSocket(`${scheme}://${location.host}/ws/view`);
  socket = mine;
  heardMs = performance.now();
  mine.binaryType = "arraybuffer";
  mine.onopen = () => {
    retryMs = 500;
    heardMs = performance.now();
    // A dashboard that was restarted counts its images from 1 again.
    for (const tile of tiles) tile.sequence = 0;
    linked(true);
    sayView();
  };
  mine.onmessage = (event) => {
    heardMs = performance.now();
    if (typeof event.data !== "string") return paint(event.data, mine);
    const message = JSON.parse(event.data);
    if ("stop" in message) document.dispatchEvent(new CustomEvent("stopanswer", { detail: message }));
    else show(message);
  };
  mine.onclose = () => { if (mine === socket) lose(); };
}

// Only this notices a dashboard that hangs, or a network that is gone: no close event comes from those.
function watch() {
  const patienceMs = socket?.readyState === WebSocket.OPEN ? LOST_MS : CONNECT_MS;
  if (socket && performance.now() - heardMs > patienceMs) lose();
}

function lose() {
  socket.close();
  socket = null;
  linked(false);
  for (const listener of losers) listener();
  setTimeout(connect, retryMs);
  retryMs = Math.min(retryMs * 1.6, 3000);
  explain();
}

// A WebSocket does not say why it was refused; a request does.
async function explain() {
  try {
    const answer = await fetch("/favicon.svg", { cache: "no-store", signal: AbortSignal.timeout(LOST_MS) });
    if (answer.status === 403) label($("link"), "link.refused");
  } catch {
    // Nothing answers: the connection is lost, as the page says.
  }
}

setInterval(watch, CHECK_MS);

// The server sends what only one view shows to those who show it.
function sayView() {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ view: document.body.dataset.view }));
}

document.addEventListener("view", sayView);
document.addEventListener("stopping", ({ detail }) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ stop: detail }));
});

function linked(yes) {
  label($("link"), yes ? "link.live" : "link.lost");
  $("link").classList.toggle("off", !yes);
  document.body.classList.toggle("lost", !yes);
}

// An image is acknowledged once it is on the screen; at most two are on their way, so a slow link shows fewer images,
// never older ones. A hidden page acknowledges when it is visible again.
async function paint(buffer, from) {
  const view = new DataView(buffer);
  const camera = view.getUint8(0);
  const sequence = view.getUint32(1);
  const stampMs = Number(view.getBigUint64(5)) / 1e6;
  const tile = tiles[camera];
  if (tile) {
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, HEADER_BYTES)], { type: "image/jpeg" }));
      await nextPaint();
      // One that was still being decoded when the connection was lost must not outrank those of the next.
      if (from === socket && sequence > tile.sequence) draw(tile, bitmap, camera, sequence, stampMs);
      bitmap.close();
    } catch {
      // An image that does not decode: the one before it stays.
    }
  }
  if (from.readyState === WebSocket.OPEN) from.send(JSON.stringify({ camera, ack: sequence }));
}

function draw(tile, bitmap, camera, sequence, stampMs) {
  tile.sequence = sequence;
  if (tile.canvas.width !== bitmap.width || tile.canvas.height !== bitmap.height) {
    tile.canvas.width = bitmap.width;
    tile.canvas.height = bitmap.height;
  }
  tile.canvas.getContext("2d").drawImage(bitmap, 0, 0);
  tile.painted.push(performance.now());
  document.dispatchEvent(new CustomEvent("painted", { detail: { camera, sequence, stampMs, atMs: Date.now() } }));
}

function nextPaint() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}

function makeTile(camera) {
  const canvas = make("canvas", { width: 224, height: 224 });
  const overlay = make("canvas", { className: "overlay", width: 448, height: 448 });
  const words = make("p");
  const name = make("span");
  const fps = make("span", { className: "fps" });
  const figure = make("figure", {}, canvas, overlay, words, make("figcaption", {}, name, fps));
  return { name: camera.name, figure, canvas, overlay, words, title: name, fps, sequence: 0, painted: [] };
}

function show(state) {
  last = state;
  if (tiles.map((tile) => tile.name).join() !== state.cameras.map((camera) => camera.name).join()) {
    tiles = state.cameras.map(makeTile);
    $("cameras").replaceChildren(...tiles.map((tile) => tile.figure));
  }
  state.cameras.forEach((camera, index) => {
    const tile = tiles[index];
    const nowMs = performance.now();
    tile.painted = tile.painted.filter((atMs) => nowMs - atMs < 2000);
    tell(tile.title, { key: "camera.name", name: camera.name });
    tell(tile.words, camera.words);
    tile.fps.textContent = camera.tone === "ok" ? t("camera.fps", { rate: (tile.painted.length / 2).toFixed(0) }) : "";
  });
  for (const listener of listeners) listener(state);
}

document.addEventListener("language", () => { if (last) show(last); });
