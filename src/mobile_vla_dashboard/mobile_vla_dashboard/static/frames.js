// Images of an episode, fetched in blocks before they are needed. Each is its length (u32, big-endian) and its JPEG.

import { wordsOf } from "/api.js";
import { inTurn } from "/turns.js";

const BLOCK = 16;
const AHEAD = 3; // blocks
const KEPT = 240; // blocks in memory, of all cameras; about 50 MB
const [RETRY_MS, MOST_RETRY_MS] = [1000, 8000]; // a failed block is asked for again, more and more seldom

export class Frames {
  // Calls `report(words)` when images cannot be fetched, and `report(null)` when they can again.
  constructor(episode, signal, report) {
    this.episode = episode;
    this.signal = signal;
    this.report = report;
    this.blocks = new Map();
  }

  // The JPEG of a step, or null while it is on its way.
  get(camera, step) {
    return this.blocks.get(this.key(camera, Math.floor(step / BLOCK)))?.images?.[step % BLOCK] ?? null;
  }

  // Fetches the images at a step and of some blocks after it.
  want(step, ahead = AHEAD) {
    const now = Math.floor(step / BLOCK);
    for (let block = now; block <= now + ahead; block += 1) {
      if (block * BLOCK >= this.episode.steps) break;
      for (const camera of Object.keys(this.episode.cameras)) this.fetch(camera, block, block === now);
    }
  }

  // Resolves when the images of a step of every camera are here, or could not be fetched.
  async ready(step) {
    // Those after it come later, so that they delay neither this nor anything else.
    this.want(step, 0);
    const block = Math.floor(step / BLOCK);
    await Promise.all(Object.keys(this.episode.cameras).map((camera) => this.blocks.get(this.key(camera, block))?.done));
  }

  key(camera, block) {
    return `${camera}/${block}`;
  }

  fetch(camera, number, first) {
    const key = this.key(camera, number);
    let block = this.blocks.get(key);
    if (block && performance.now() < block.againMs) return;
    if (!block) {
      if (this.blocks.size >= KEPT) this.blocks.delete(this.blocks.keys().next().value);
      block = { images: null, waitMs: RETRY_MS };
      this.blocks.set(key, block);
    }
    block.againMs = Infinity;
    const { episode_id: id, version } = this.episode;
    const address = `/api/episodes/${id}/frames/${camera}?first=${number * BLOCK}&count=${BLOCK}&v=${version}`;
    block.done = inTurn(() => this.load(address, block), first);
  }

  async load(address, block) {
    let words = { key: "reply.none" };
    try {
      const answer = await fetch(address, { signal: this.signal });
      if (answer.ok) {
        block.images = split(await answer.arrayBuffer());
        this.report(null);
        return;
      }
      words = wordsOf(await answer.json(), answer.status);
    } catch {
      if (this.signal.aborted) return;
    }
    block.againMs = performance.now() + block.waitMs;
    block.waitMs = Math.min(2 * block.waitMs, MOST_RETRY_MS);
    this.report(words);
  }
}

function split(buffer) {
  const view = new DataView(buffer);
  const images = [];
  for (let at = 0; at < buffer.byteLength;) {
    const length = view.getUint32(at);
    images.push(new Blob([new Uint8Array(buffer, at + 4, length)], { type: "image/jpeg" }));
    at += 4 + length;
  }
  return images;
}
