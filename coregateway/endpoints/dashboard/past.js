// What was before: the last hour as the node remembers it, which was there before the page was opened.

import { History, SECONDS } from "./plots.js";

export const MINUTES = 61;

// Places in a row of the hour.
const [WHEN, SPAN, ANSWERED, REFUSED, FAILED, LEFT, P50, P95, P99, IN, OUT] = Array(11).keys();

// What the node has of a backend, or of all; null: it does not say.
export async function past(backend) {
  const answer = await fetch(`/dashboard/history${backend ? `?backend=${encodeURIComponent(backend)}` : ""}`);
  return answer.ok ? answer.json() : null;
}

const requests = (row) => row[ANSWERED] + row[REFUSED] + row[FAILED] + row[LEFT];

// As a row of the live page has them: a second, requests and failures; and times.
function rates(row) {
  const span = Math.max(row[SPAN], 0.001);
  return [requests(row) / span, row[FAILED] / span, row[P50], row[P95], row[P99]];
}

function fill(history, rows, now, seconds) {
  const known = new Map(rows.map((row) => [row[WHEN], row]));
  const last = Math.floor(now / seconds) * seconds;
  for (let ago = history.size - 1; ago >= 0; ago--) {
    const row = known.get(last - ago * seconds);
    history.push(row ? rates(row) : null);
  }
  return history;
}

// The last three minutes, up to the second before this one.
export function secondsOf(told) {
  return fill(new History(SECONDS), told.seconds, told.time - 1, 1);
}

// The last hour, up to this minute.
export function minutesOf(told, clock) {
  const last = Math.floor(told.time / 60) * 60;
  const marks = [60, 45, 30, 15].map((ago) => [ago, clock.format(new Date((last - ago * 60) * 1000))]);
  return fill(new History(MINUTES, [...marks, [0, "now"]]), told.minutes, told.time, 60);
}

export const minuteOf = (told, ago) => Math.floor(told.time / 60) * 60 - ago * 60;

// How many minutes ago a time of day was last, as a field of a form has it; null: longer than an hour.
export function minutesAgo(told, time) {
  const [hours, minutes] = time.split(":").map(Number);
  for (let ago = 0; ago < MINUTES; ago++) {
    const at = new Date(minuteOf(told, ago) * 1000);
    if (at.getHours() === hours && at.getMinutes() === minutes) return ago;
  }
  return null;
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  let unit = 0;
  while (bytes >= 1024 && unit < SIZES.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${SIZES[unit]}`;
}

// One minute in words.
export function inWords(told, ago, { grouped, time }) {
  const row = told.minutes.find((each) => each[WHEN] === minuteOf(told, ago));
  if (!row) return "the node did not run, or did not count";
  if (!requests(row)) return "no request";
  const count = (number) => grouped.format(number);
  const parts = [`${count(requests(row))} request${requests(row) === 1 ? "" : "s"}: ${count(row[ANSWERED])} answered`];
  if (row[REFUSED]) parts.push(`${count(row[REFUSED])} with 4xx`);
  if (row[FAILED]) parts.push(`${count(row[FAILED])} with 5xx`);
  if (row[LEFT]) parts.push(`${count(row[LEFT])} left by their clients`);
  const within = row[P50] === null ? "" : `; half within ${time(row[P50])}, 95 % ${time(row[P95])}, 99 % ${time(row[P99])}`;
  return `${parts.join(", ")}${within}; ${size(row[IN])} in, ${size(row[OUT])} out`;
}
