// Actions and states of an episode as lines over its steps, with the playhead and the part that a trim keeps.

import { make } from "/dom.js";

const COLOURS = ["--trace-1", "--trace-2", "--trace-3", "--trace-4"];

export class Traces {
  // `names`: of the columns; `rows`: their values per step; `takeover`: 1 where the operator was in command of a policy.
  constructor(title, names, rows, stride, takeover) {
    this.rows = rows;
    this.takeover = takeover;
    this.stride = stride;
    this.canvas = make("canvas", { className: "traces", "aria-hidden": "true" });
    this.values = names.map((name, index) => {
      const value = make("b");
      return { value, item: make("span", { style: { color: `var(${COLOURS[index % 4]})` } }, `${name} `, value) };
    });
    const legend = make("div", { className: "legend" }, make("span", {}, title), ...this.values.map(({ item }) => item));
    this.element = make("div", {}, legend, this.canvas);
    this.ranges = names.map((_, column) => range(rows.map((row) => row[column])));
  }

  // `kept`: first and last step of the part that a trim keeps.
  draw(step, count, kept) {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    context.scale(scale, scale);
    const place = (index) => (count > 1 ? (index / (count - 1)) * (width - 2) + 1 : width / 2);
    context.fillStyle = style.getPropertyValue("--blue-tint");
    const wide = place(this.stride) - place(0);
    this.takeover.forEach((taken, index) => { if (taken) context.fillRect(place(index * this.stride), 0, wide + 0.5, height); });
    context.fillStyle = style.getPropertyValue("--line");
    context.fillRect(0, 0, place(kept[0]) - 1, height);
    context.fillRect(place(kept[1]) + 1, 0, width, height);
    this.ranges.forEach(([low, high], column) => {
      context.strokeStyle = style.getPropertyValue(COLOURS[column % 4]);
      context.lineWidth = 1.5;
      context.beginPath();
      this.rows.forEach((row, index) => {
        if (row[column] === null) return;
        const y = height - 4 - ((row[column] - low) / (high - low)) * (height - 8);
        context.lineTo(place(index * this.stride), y);
      });
      context.stroke();
    });
    context.fillStyle = style.getPropertyValue("--ink");
    context.fillRect(place(step) - 0.75, 0, 1.5, height);
    const row = this.rows[Math.min(this.rows.length - 1, Math.floor(step / this.stride))] ?? [];
    this.values.forEach(({ value }, column) => { value.textContent = row[column]?.toFixed(3) ?? "–"; });
  }
}

// Least and greatest value; a constant one is drawn in the middle.
function range(values) {
  const known = values.filter((value) => value !== null);
  const low = known.length ? Math.min(...known) : 0;
  const high = known.length ? Math.max(...known) : 0;
  return high - low > 1e-6 ? [low, high] : [low - 0.5, low + 0.5];
}
