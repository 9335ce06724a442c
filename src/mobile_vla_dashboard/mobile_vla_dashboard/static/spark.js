// A line of the last minute, drawn small beside its number.

const POINTS = 300; // one minute of states

export class Spark {
  constructor(canvas) {
    this.canvas = canvas;
    this.values = [];
  }

  // Adds a value; null leaves a gap.
  add(value) {
    this.values.push(value ?? null);
    if (this.values.length > POINTS) this.values.shift();
  }

  draw() {
    const { canvas, values } = this;
    const pen = canvas.getContext("2d");
    const known = values.filter((value) => value !== null);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (known.length < 2) return;
    const top = Math.max(...known) || 1;
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.beginPath();
    let drawing = false;
    values.forEach((value, index) => {
      if (value === null) {
        drawing = false;
        return;
      }
      const x = canvas.width - ((values.length - 1 - index) * canvas.width) / (POINTS - 1);
      const y = canvas.height - 3 - (value / top) * (canvas.height - 6);
      if (drawing) pen.lineTo(x, y);
      else pen.moveTo(x, y);
      drawing = true;
    });
    pen.stroke();
  }
}
