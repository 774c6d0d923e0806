// The last three minutes, or the last hour, of one backend, and how they are drawn.

export const SECONDS = 180;

const RATE = 0;
const FAILED = 1;
const P50 = 2;
const P95 = 3;
const P99 = 4;
const WIDTH = 5;

const MARKS = [[180, "3 min ago"], [120, "2 min ago"], [60, "1 min ago"], [0, "now"]];

// A ring of spans, seconds unless it says so; each holds the numbers above, NaN where nothing is known.
// `marks`: of the axis, each with how many spans ago it is.
export class History {
  constructor(size = SECONDS, marks = MARKS) {
    this.size = size;
    this.marks = marks;
    this.numbers = new Float64Array(size * WIDTH).fill(NaN);
    this.next = 0;
  }

  push(row) {
    const at = (this.next % this.size) * WIDTH;
    for (let number = 0; number < WIDTH; number++) {
      const value = row === null ? NaN : row[number];
      this.numbers[at + number] = value === null ? NaN : value;
    }
    this.next++;
  }

  // A number `ago` seconds before now.
  get(number, ago) {
    const second = this.next - 1 - ago;
    return second < 0 || ago < 0 || ago >= this.size ? NaN : this.numbers[(second % this.size) * WIDTH + number];
  }

  most(number) {
    let most = 0;
    for (let at = number; at < this.numbers.length; at += WIDTH) {
      if (this.numbers[at] > most) most = this.numbers[at];
    }
    return most;
  }

  least(number) {
    let least = Infinity;
    for (let at = number; at < this.numbers.length; at += WIDTH) {
      if (this.numbers[at] < least) least = this.numbers[at];
    }
    return least;
  }
}

let colours = {};

export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  for (const name of ["accent", "bad", "half", "tail", "line", "quiet", "surface", "ink"]) {
    colours[name] = read(`--${name}`);
  }
}

// A canvas at the screen's own resolution; null while it is not shown.
function surface(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return null;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineJoin = context.lineCap = "round";
  return { context, width, height };
}

// The least of some round numbers that is not below a number.
function roundUp(number) {
  if (!(number > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  for (const step of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (step * power >= number * 0.9999) return step * power;
  return 10 * power;
}

// Runs of seconds in which a number is known, as points from left to right. `positive`: and is above zero, or
// is so a second before or after.
function runs(history, number, x, y, positive = false) {
  const found = [];
  let run = null;
  for (let ago = history.size - 1; ago >= 0; ago--) {
    const value = history.get(number, ago);
    const rests = positive && ![-1, 0, 1].some((near) => history.get(number, ago + near) > 0);
    if (Number.isNaN(value) || rests) {
      run = null;
    } else {
      if (run === null) found.push((run = []));
      run.push([x(ago), y(value)]);
    }
  }
  return found;
}

function line(context, points, colour, width, alpha = 1) {
  context.beginPath();
  points.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (points.length === 1) context.lineTo(points[0][0] + 0.01, points[0][1]);
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
  context.globalAlpha = 1;
}

function area(context, points, bottom, colour, alpha) {
  context.beginPath();
  context.moveTo(points[0][0], bottom);
  for (const [x, y] of points) context.lineTo(x, y);
  context.lineTo(points[points.length - 1][0], bottom);
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
}

function band(context, upper, lower, colour, alpha) {
  context.beginPath();
  upper.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
  for (let at = lower.length - 1; at >= 0; at--) context.lineTo(...lower[at]);
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
}

const LABELS = 54;

function frame({ context, width, height }, history, marks, y, bottom, hovered, x) {
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const [value, text] of marks) {
    const at = Math.round(y(value)) + 0.5;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, at);
    context.lineTo(width - LABELS, at);
    context.stroke();
    context.fillStyle = colours.quiet;
    context.fillText(text, width, at);
  }
  context.textBaseline = "alphabetic";
  const [first, ...others] = history.marks;
  for (const [ago, text] of width < 440 ? [first, others[others.length - 1]] : history.marks) {
    context.textAlign = ago === first[0] ? "left" : ago ? "center" : "right";
    context.fillText(text, Math.max(x(ago), 0), height - 3);
  }
  if (hovered !== null) {
    context.strokeStyle = colours.quiet;
    context.beginPath();
    context.moveTo(x(hovered), 4);
    context.lineTo(x(hovered), bottom);
    context.stroke();
  }
}

function baseline({ context, width }, bottom) {
  context.fillStyle = colours.line;
  context.fillRect(0, bottom, width, 1);
}

// Requests and failures a second. `hovered`: seconds ago, or null. Without `large`: no axis.
export function drawTraffic(canvas, history, { large = false, hovered = null, count } = {}) {
  const on = surface(canvas);
  if (!on) return;
  const { context, width, height } = on;
  const bottom = large ? height - 22 : height - 2;
  const right = large ? width - LABELS : width;
  const most = roundUp(Math.max(history.most(RATE), 1));
  const x = (ago) => right - (ago / history.size) * right;
  const y = (value) => bottom - (value / most) * (bottom - 8);
  if (large) frame(on, history, [[0, "0"], [most / 2, count(most / 2)], [most, count(most)]], y, bottom, hovered, x);
  else baseline(on, bottom);
  for (const points of runs(history, RATE, x, y)) {
    area(context, points, bottom, colours.accent, 0.13);
    line(context, points, colours.accent, large ? 2 : 1.5);
  }
  for (const points of runs(history, FAILED, x, y, true)) {
    area(context, points, bottom, colours.bad, 0.55);
    line(context, points.map(([px, py]) => [px, Math.min(py, bottom - 1)]), colours.bad, large ? 1.5 : 1);
  }
}

// The times within which half, 95 % and 99 % were answered, each step of the scale ten times the one below.
export function drawTimes(canvas, history, { large = false, hovered = null, time } = {}) {
  const on = surface(canvas);
  if (!on) return;
  const { context, width, height } = on;
  const bottom = large ? height - 22 : height - 2;
  const right = large ? width - LABELS : width;
  let low = Math.floor(Math.log10(Math.max(Math.min(history.least(P50), 1), 0.0001)));
  let high = Math.ceil(Math.log10(Math.max(history.most(P99), 0.001)));
  if (high - low < 2) high = low + 2;
  const x = (ago) => right - (ago / history.size) * right;
  const y = (value) =>
    bottom - ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (bottom - 8);
  if (large) {
    const marks = [];
    for (let power = low; power <= high; power++) marks.push([10 ** power, time(10 ** power)]);
    frame(on, history, marks, y, bottom, hovered, x);
  } else baseline(on, bottom);
  const [half, most, nearly] = [P50, P95, P99].map((number) => runs(history, number, x, y));
  nearly.forEach((points, at) => {
    if (half[at] && half[at].length === points.length) band(context, points, half[at], colours.tail, 0.12);
    line(context, points, colours.tail, large ? 1.75 : 1);
  });
  for (const points of most) line(context, points, colours.tail, 1, 0.55);
  for (const points of half) line(context, points, colours.half, large ? 2 : 1.5);
}

// How many spans of a history ago the pointer means.
export function spansAgo(canvas, event, size) {
  const box = canvas.getBoundingClientRect();
  const right = box.width - LABELS;
  const share = (right - (event.clientX - box.left)) / right;
  return Math.min(Math.max(Math.round(share * size), 0), size - 1);
}
