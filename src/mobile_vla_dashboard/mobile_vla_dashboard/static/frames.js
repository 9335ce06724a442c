// Images of an episode, fetched in blocks before they are needed. Each is its length (u32, big-endian) and its JPEG.

const BLOCK = 16;
const AHEAD = 3; // blocks
const KEPT = 240; // blocks in memory, of all cameras; about 50 MB

export class Frames {
  constructor(episode) {
    this.episode = episode;
    this.blocks = new Map();
    this.abort = new AbortController();
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
      for (const camera of Object.keys(this.episode.cameras)) this.fetch(camera, block);
    }
  }

  // Resolves when the images of a step of every camera are here.
  async ready(step) {
    // Those after it come later, so that they delay neither this nor anything else.
    this.want(step, 0);
    const block = Math.floor(step / BLOCK);
    await Promise.all(Object.keys(this.episode.cameras).map((camera) => this.blocks.get(this.key(camera, block))?.done));
  }

  close() {
    this.abort.abort();
    this.blocks.clear();
  }

  key(camera, block) {
    return `${camera}/${block}`;
  }

  fetch(camera, number) {
    const key = this.key(camera, number);
    if (this.blocks.has(key)) return;
    if (this.blocks.size >= KEPT) this.blocks.delete(this.blocks.keys().next().value);
    const block = { images: null };
    const { episode_id: id, version } = this.episode;
    const address = `/api/episodes/${id}/frames/${camera}?first=${number * BLOCK}&count=${BLOCK}&v=${version}`;
    block.done = fetch(address, { signal: this.abort.signal })
      .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(String(answer.status)))))
      .then((buffer) => { block.images = split(buffer); })
      .catch(() => { this.blocks.delete(key); });
    this.blocks.set(key, block);
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
