// The live page: takes in one event a second and shows it. Whatever came from a request goes in as text.

import { MINUTES, inWords as minuteInWords, minuteOf, minutesAgo, minutesOf, past, secondsOf } from "./past.js";
import { History, SECONDS, drawTimes, drawTraffic, readColours, spansAgo } from "./plots.js";
import { show as showRefusals } from "./refusals.js";
import { show } from "./request.js";

const element = (id) => document.getElementById(id);

// Places in a backend's row, as the feed sends it.
const [RATE, FAILED, P50, P95, P99, TRIES, FLIGHT, QUEUED, ACTIVE, IDLE, OPENING, BREAKER, UPSTREAMS] = Array(13).keys();
const ALL = "*";

const SILENCE = 6000; // milliseconds without an event after which the gateway counts as gone
const CALM = 15; // seconds for which a backend keeps its place among those in trouble
const AGAIN = 15000; // milliseconds between two looks at the hour while it is shown
const FEW = 8; // lines of a list until the reader asks for more
const LONG = 12; // backends from which on the list scrolls by itself

const WORDS = {
  connect_failed: "no connection can be opened",
  connect_timeout: "takes no connection in time",
  upstream_closed: "ends connections without an answer",
  upstream_protocol: "answers with something else than HTTP",
  read_timeout: "does not answer in time",
  write_timeout: "takes no data",
};

const CAUSES = {
  bad_request: "malformed request",
  no_route: "no such path",
  method_not_allowed: "method not allowed",
  client_timeout: "client too slow",
  body_too_large: "body too large",
  uri_too_long: "address too long",
  head_too_large: "head too large",
  connect_failed: "no connection possible",
  connect_timeout: "no connection in time",
  upstream_closed: "connection lost",
  upstream_protocol: "broken answer",
  read_timeout: "no answer in time",
  write_timeout: "backend took no data",
  pool_timeout: "no free connection in time",
  overloaded: "too many waiting",
  draining: "gateway was stopping",
  client_closed: "client left",
  no_upstream: "no upstream can be used",
  breaker_open: "breaker open",
  maintenance: "under maintenance",
  total_timeout: "its time was spent",
  auth_missing: "no credentials",
  auth_invalid: "wrong credentials",
  auth_ambiguous: "two credentials",
  auth_unavailable: "credentials cannot be checked",
  forbidden: "not permitted",
  ip_denied: "address not admitted",
  rate_limited: "rate exceeded",
  too_many_in_flight: "too many in flight",
  rate_store_unavailable: "no store of rates",
  media_type: "wrong media type",
  schema_mismatch: "does not fit the document",
  no_operation: "not in the document",
  middleware_failed: "a middleware failed",
  internal_error: "fault in the gateway",
};

let state = null;
let order = [];
let selected = ALL;
let onlyTrouble = false;
let wanted = "";
let hovered = null; // spans ago
let pinned = null; // a minute of the hour, in seconds since the epoch, that the lists tell of
let hour = null; // what the node has of the last hour of what is selected, and how it is drawn
let ranged = "live";
const opened = new Set(); // lists of which all is shown
let skew = 0; // seconds by which the gateway's clock is ahead of this one
const histories = new Map();
const trouble = new Map(); // name → [level, until]
const shown = new Map(); // name → row on the screen

// Words and numbers

const grouped = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function count(number) {
  if (number >= 100) return grouped.format(Math.round(number));
  if (number >= 10 || number === 0) return String(Math.round(number * 10) / 10).replace(/\.0$/, "");
  return String(Number(number.toPrecision(2)));
}

function time(seconds) {
  if (seconds === null || Number.isNaN(seconds)) return "–";
  if (seconds >= 10) return `${Math.round(seconds)} s`;
  if (seconds >= 1) return `${Number(seconds.toPrecision(2))} s`;
  const milliseconds = seconds * 1000;
  return `${milliseconds >= 10 ? Math.round(milliseconds) : Number(milliseconds.toPrecision(2))} ms`;
}

function share(row) {
  if (!row || !row[RATE]) return row ? 0 : null;
  return row[FAILED] / row[RATE];
}

function percent(part) {
  if (part === null) return "–";
  if (part > 0 && part < 0.001) return "< 0.1 %";
  return `${part >= 0.1 ? Math.round(part * 100) : Number((part * 100).toPrecision(2))} %`;
}

function duration(seconds) {
  const whole = Math.max(Math.floor(seconds), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const now = () => Date.now() / 1000 + skew;
const plural = (number, word) => `${grouped.format(number)} ${word}${number === 1 ? "" : "s"}`;

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(tag, classes = "", ...children) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  node.append(...children);
  return node;
}

// A number with its unit in small letters.
function figure(node, text, bad = false) {
  node.classList.toggle("bad", bad);
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  const [number, ...unit] = text.split(/ (?=[^\d])/);
  node.replaceChildren(number);
  if (unit.length) node.append(make("small", "", unit.join(" ")));
}

// What the numbers mean

const isOut = (how) => how === "down" || how === "ejected";

function stateOf(row) {
  const states = row[UPSTREAMS].map((upstream) => upstream[1]).filter((each) => each !== "draining");
  if (!states.length) return "drained";
  if (row[BREAKER] === "open" || states.every(isOut)) return "down";
  if (states.some(isOut)) return "partly";
  return states.includes("up") ? "up" : "unknown";
}

function levelNow(row) {
  const how = stateOf(row);
  if (how === "down") return 4;
  if (how === "partly") return 3;
  if (row[FAILED] > 0) return 2;
  return row[QUEUED] > 0 ? 1 : 0;
}

// How bad it is: what is over counts for a while longer, so that rows do not jump.
function level(name) {
  const known = trouble.get(name);
  return known ? known[0] : 0;
}

function judge(at) {
  for (const [name, row] of Object.entries(state.backends)) {
    const current = levelNow(row);
    const known = trouble.get(name);
    if (current && (!known || current >= known[0] || at > known[1])) trouble.set(name, [current, at + CALM]);
    else if (known && (at > known[1] || (known[0] > 2 && current < 3))) {
      if (current) trouble.set(name, [current, at + CALM]);
      else trouble.delete(name);
    }
  }
}

const BREAKERS = {
  open: "its breaker is open: requests are refused at once",
  half_open: "its breaker is half open: one request tries it",
};

function inWords(row) {
  const how = stateOf(row);
  const down = row[UPSTREAMS].filter((upstream) => isOut(upstream[1]));
  if (how === "drained") return "taken out by an operator";
  if (BREAKERS[row[BREAKER]]) return BREAKERS[row[BREAKER]];
  if (!down.length) return how === "unknown" ? "no requests yet" : null;
  const cause = down[0][2].match(/\((\w+)\)/)?.[1] ?? "";
  const since = down[0][3] ? ` for ${duration(now() - down[0][3])}` : "";
  const who = how === "partly" ? `${down.length} of ${row[UPSTREAMS].length} addresses ` : "";
  const where = down.length === 1 ? down[0][0] : `${down[0][0]} and ${plural(down.length - 1, "other")}`;
  const out = down.every((upstream) => upstream[1] === "ejected") ? "ejected" : "down";
  return `${who}${who ? out : (WORDS[cause] ?? out)}${since}: ${where}${who && cause in WORDS ? `, ${WORDS[cause]}` : ""}`;
}

function verdict() {
  const rows = Object.entries(state.backends);
  const down = rows.filter(([, row]) => stateOf(row) === "down").length;
  const partly = rows.filter(([, row]) => stateOf(row) === "partly").length;
  const failing = rows.filter(([name]) => level(name) === 2).length;
  const waiting = rows.filter(([name]) => level(name) === 1).length;
  const of = (number) => (number === rows.length ? (number === 1 ? "The" : `All ${grouped.format(number)}`) : `${grouped.format(number)} of ${grouped.format(rows.length)}`);
  const backends = rows.length === 1 ? "backend" : "backends";
  if (down) return `${of(down)} ${backends} ${down === 1 ? "is" : "are"} down`;
  if (partly) return `${of(partly)} ${backends} ${partly === 1 ? "is" : "are"} partly down`;
  const missing = state.workers.filter((worker) => worker.state !== "ready").length;
  if (missing) return `${plural(missing, "worker")} of ${state.workers.length} not ready`;
  if (!state.ready) return "Not ready for requests";
  if (failing) return `${of(failing)} ${backends} ${failing === 1 ? "answers" : "answer"} with errors`;
  if (waiting) return `Requests wait for ${plural(waiting, "backend")}`;
  return "All is well";
}

// The top: one backend, or all

function rowOf(name) {
  return name === ALL ? state.all : state.backends[name];
}

function showTop() {
  const one = selected !== ALL;
  const row = rowOf(selected);
  say(element("verdict"), one ? selected : verdict());
  const up = state.started ? `up for ${duration(now() - state.started)}` : "";
  const breaker = one && row[BREAKER] !== "off" ? `, breaker ${row[BREAKER].replace("_", " ")}` : "";
  const path = one ? `${state.prefixes[selected]}${breaker}` : `${plural(state.workers.length, "worker")}, ${up}`;
  say(element("about"), path);
  element("all").hidden = !one;
  showUpstreams(one ? row[UPSTREAMS] : []);
  const flight = one ? row[FLIGHT] : Object.values(state.backends).reduce((sum, each) => sum + each[FLIGHT], 0);
  const queued = one ? row[QUEUED] : Object.values(state.backends).reduce((sum, each) => sum + each[QUEUED], 0);
  const measured = state.measured && row;
  figure(element("rate"), measured ? count(row[RATE]) : "–");
  figure(element("failing"), measured ? percent(share(row)) : "–", Boolean(measured && row[FAILED]));
  for (const [id, place] of [["half", P50], ["most", P95], ["nearly", P99]]) {
    figure(element(id), measured ? time(row[place]) : "–");
  }
  figure(element("tries"), measured && row[RATE] && row[TRIES] ? count(row[TRIES] / row[RATE]) : "–");
  figure(element("flight"), count(flight) + (queued ? ` ${count(queued)} waiting` : ""));
  element("unmeasured").hidden = state.measured;
}

const ANSWERS = { up: "up", down: "down", ejected: "ejected", unknown: "no requests yet", draining: "taken out by an operator" };
const lines = new Map(); // URL → the line of an upstream, which stays: a button must not go while it is pressed

function showUpstreams(upstreams) {
  const list = element("upstreams");
  list.hidden = !upstreams.length;
  const known = new Set(upstreams.map(([url]) => url));
  for (const [url, line] of lines) {
    if (!known.has(url)) {
      line.item.remove();
      lines.delete(url);
    }
  }
  for (const [url, how, reason, since, flight, ejections] of upstreams) {
    const line = lines.get(url) ?? newLine(list, url);
    const words = ANSWERS[how] ?? how;
    const long = since && how !== "draining" ? ` for ${duration(now() - since)}` : "";
    const why = how === "draining" ? "" : `: ${reason}`;
    const often = ejections ? `, ejected ${ejections === 1 ? "once" : `${grouped.format(ejections)} times`} so far` : "";
    line.item.className = how;
    line.drained = how === "draining";
    say(line.text, `${words}${long}${why}; ${plural(flight, "request")} under way${often}`);
    say(line.button, line.drained ? "Undrain" : "Drain");
  }
}

function newLine(list, url) {
  const text = make("span", "quiet");
  const button = make("button");
  button.type = "button";
  button.hidden = !("controls" in document.body.dataset); // the main port changes nothing
  const line = { item: make("li", "", make("span", "dot"), make("code", "", url), text, button), text, button, drained: false };
  button.addEventListener("click", () => drain(line, url));
  list.append(line.item);
  lines.set(url, line);
  return line;
}

// Take an upstream out, or have it back; the next picture shows what came of it.
async function drain(line, url) {
  const backend = selected;
  const others = state.backends[backend][UPSTREAMS].filter((each) => each[0] !== url && each[1] !== "draining");
  const question = `${url} is the last upstream of ${backend}: clients will get errors. Take it out?`;
  if (!line.drained && !others.length && !confirm(question)) return;
  line.button.disabled = true;
  try {
    await fetch(`/upstreams/${line.drained ? "undrain" : "drain"}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CoreGateway-Admin": "1" },
      body: JSON.stringify({ backend, url }),
    });
  } finally {
    line.button.disabled = false;
  }
}

const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

function drawnHistory() {
  if (ranged === "hour") return hour?.history ?? new History(MINUTES, [[60, ""], [0, "now"]]);
  return histories.get(selected) ?? new History();
}

// Which spans ago the numbers are told of: where the pointer is, or the minute that was chosen.
function marked() {
  if (hovered !== null || ranged === "live" || pinned === null || !hour) return hovered;
  const ago = Math.round((minuteOf(hour.told, 0) - pinned) / 60);
  return ago >= 0 && ago < MINUTES ? ago : null;
}

function sayThen(at) {
  if (ranged === "live" || !hour || at === null) return say(element("then"), ranged === "live" || !hour ? "" : "Choose a minute: what happened then?");
  say(element("then"), `${minute.format(new Date(minuteOf(hour.told, at) * 1000))}: ${minuteInWords(hour.told, at, { grouped, time })}`);
}

function drawTop() {
  const history = drawnHistory();
  const hovered = marked();
  sayThen(hovered);
  drawTraffic(element("traffic"), history, { large: true, hovered, count });
  drawTimes(element("times"), history, { large: true, hovered, time });
  const row = rowOf(selected);
  const span = ranged === "hour" ? "hour" : "three minutes";
  const spoken = row ? `now ${count(row[RATE])}, ${percent(share(row))} failing` : "nothing yet";
  element("traffic").setAttribute("aria-label", `Requests a second in the last ${span}: ${spoken}`);
  const times = row ? `half within ${time(row[P50])}, 99 % within ${time(row[P99])}` : "nothing yet";
  element("times").setAttribute("aria-label", `Time to answer in the last ${span}: ${times}`);
  if (hovered === null) {
    say(element("traffic-at"), "");
    say(element("times-at"), "");
    return;
  }
  const [rate, failed, half, most, nearly] = [RATE, FAILED, P50, P95, P99].map((number) => history.get(number, hovered));
  const ago = hovered ? `${hovered} s ago` : "now";
  const at = ranged === "hour" && hour ? minute.format(new Date(minuteOf(hour.told, hovered) * 1000)) : ago;
  say(element("traffic-at"), Number.isNaN(rate) ? "" : `${at}: ${count(rate)}, ${count(failed)} failing`);
  say(element("times-at"), Number.isNaN(half) ? "" : `${at}: ${[half, most, nearly].map(time).join(" · ")}`);
}

// The list: only the rows on the screen exist

function sort() {
  const words = wanted.toLowerCase();
  const fits = (name) =>
    !words ||
    name.includes(words) ||
    state.prefixes[name].toLowerCase().includes(words) ||
    state.backends[name][UPSTREAMS].some((upstream) => upstream[0].includes(words));
  order = Object.keys(state.backends).filter((name) => fits(name) && (!onlyTrouble || level(name)));
  order.sort((a, b) => level(b) - level(a) || (a < b ? -1 : 1));
}

function rowHeight() {
  return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
}

function makeRow(name) {
  const parts = {};
  const part = (key, node) => (parts[key] = node);
  const dot = make("span", "dot");
  dot.setAttribute("aria-hidden", "true");
  const who = make("span", "who", dot, make("b", "", name), part("what", make("i")));
  const canvas = (key) => {
    const node = part(key, document.createElement("canvas"));
    node.setAttribute("aria-hidden", "true");
    return node;
  };
  const traffic = make("span", "cell", canvas("traffic"), part("rate", make("span")));
  const times = make("span", "cell", canvas("times"), part("within", make("span")));
  const bar = part("bar", make("span", "bar", make("i")));
  const pool = make("span", "pool", part("flight", make("span")), bar);
  const button = part("button", make("button", "row", who, traffic, times, pool));
  button.type = "button";
  button.addEventListener("click", () => select(selected === name ? ALL : name));
  parts.item = make("li", "", button);
  return parts;
}

function labelled(node, ...pieces) {
  const text = pieces.map((piece) => piece.join("")).join("  ");
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  node.replaceChildren();
  pieces.forEach(([before, number, after, bad], at) => {
    node.append(`${at ? " · " : ""}${before}`, make("b", bad ? "bad" : "", number), after ?? "");
  });
}

function fillRow(parts, name) {
  const row = state.backends[name];
  const how = stateOf(row);
  parts.item.className = how + (parts.first ? " first" : "");
  const words = inWords(row);
  say(parts.what, words && how !== "unknown" ? words : `${state.prefixes[name]}${words ? `, ${words}` : ""}`);
  parts.what.title = words ?? ""; // in full, should it be too long
  parts.button.setAttribute("aria-pressed", String(selected === name));
  const failing = share(row);
  if (state.measured) {
    labelled(parts.rate, ["", count(row[RATE]), " a second"], ["", percent(failing), " failing", failing > 0]);
    if (row[P50] === null) labelled(parts.within, ["no request lately", "", ""]);
    else labelled(parts.within, ["half ", time(row[P50])], ["99 % ", time(row[P99])]);
  }
  const open = row[ACTIVE] + row[IDLE] + row[OPENING];
  const ready = Math.max(state.workers.filter((worker) => worker.state === "ready").length, 1);
  const limit = state.limit * row[UPSTREAMS].length * ready;
  const pieces = [["", count(row[FLIGHT]), " under way"]];
  pieces.push(row[QUEUED] ? ["", count(row[QUEUED]), " waiting", true] : ["", count(open), " open"]);
  labelled(parts.flight, ...pieces);
  parts.bar.classList.toggle("full", row[QUEUED] > 0);
  parts.bar.firstChild.style.transform = `scaleX(${Math.min(row[ACTIVE] / limit, 1)})`;
  const history = histories.get(name);
  if (history) {
    drawTraffic(parts.traffic, history);
    drawTimes(parts.times, history);
  }
}

function showRows() {
  const scroller = element("scroller");
  const long = order.length > LONG;
  scroller.classList.toggle("long", long);
  if (long) scroller.tabIndex = 0;
  else scroller.removeAttribute("tabindex");
  scroller.hidden = !order.length;
  element("nothing").hidden = Boolean(order.length);
  const all = Object.keys(state.backends).length;
  say(element("backends-count"), order.length === all ? grouped.format(all) : `${grouped.format(order.length)} of ${grouped.format(all)}`);
  const height = rowHeight();
  const list = element("rows");
  list.style.height = `${order.length * height}px`;
  const first = long ? Math.max(Math.floor(scroller.scrollTop / height) - 2, 0) : 0;
  const last = long ? Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) + 2 : order.length;
  const visible = order.slice(first, last);
  const kept = new Set(visible);
  for (const [name, parts] of shown) {
    if (!kept.has(name)) {
      parts.item.remove();
      shown.delete(name);
    }
  }
  visible.forEach((name, at) => {
    let parts = shown.get(name);
    if (!parts) shown.set(name, (parts = makeRow(name)));
    // Moving a focused row would take the focus from it.
    if (list.children[at] !== parts.item) {
      const active = document.activeElement;
      list.insertBefore(parts.item, list.children[at] ?? null);
      if (active === parts.button) active.focus({ preventScroll: true });
    }
    parts.first = first + at === 0;
    parts.item.style.transform = `translateY(${(first + at) * height}px)`;
    parts.item.setAttribute("aria-setsize", order.length);
    parts.item.setAttribute("aria-posinset", first + at + 1);
    fillRow(parts, name);
  });
}

function select(name) {
  selected = name;
  hour = null;
  look();
  refresh();
  if (name !== ALL) {
    element("verdict").scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
}

// Requests, findings, workers

const built = new Map(); // what each list was made of

// Make the lines of a list anew where they have changed. The focus stays, and so does a button that is pressed.
function fill(id, value, lines) {
  const text = JSON.stringify(value);
  const list = element(id);
  if (built.get(id) === text || list.querySelector("button:active")) return;
  built.set(id, text);
  const focused = list.contains(document.activeElement) ? document.activeElement.textContent : null;
  list.replaceChildren(...lines());
  if (focused !== null) [...list.querySelectorAll("button")].find((each) => each.textContent === focused)?.focus({ preventScroll: true });
}

function showRequests(id, records) {
  element(`${id}-none`).hidden = Boolean(records.length);
  fill(id, records, () => requestLines(records));
}

function requestLines(records) {
  return records.map((record) => {
    const left = record.status === 499 || record.status === null;
    const status = make("span", `status${record.status >= 500 ? " bad" : ""}`, left ? "left" : String(record.status));
    const what = make("span", "what", `${record.method || "–"} ${record.path || "no path"}`);
    what.title = record.path;
    const pieces = record.backend ? [record.backend] : [];
    if (record.error) pieces.push(CAUSES[record.error] ?? record.error);
    if (record.skipped) pieces.push(`and ${plural(record.skipped, "other")} like it before`);
    const when = make("time", "", clock.format(new Date(record.time * 1000)));
    when.dateTime = new Date(record.time * 1000).toISOString();
    const more = make("span", "more", `${pieces.map((piece) => `${piece}, `).join("")}`, when, " ", idOf(record.id));
    return make("li", "", status, what, make("span", "took", time(record.ms / 1000)), more);
  });
}

// The id of a request: a button that tells what became of it, where the page may ask.
function idOf(id) {
  if (!id || !("controls" in document.body.dataset)) return make("span", "id", id ?? "");
  const button = make("button", "id", id);
  button.type = "button";
  button.title = "What became of this request";
  button.addEventListener("click", () => find(id));
  return button;
}

function find(id) {
  const hash = `#request=${encodeURIComponent(id)}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  show(id, CAUSES);
}

// A link to a request, which also may be followed on the page itself.
function follow() {
  const named = location.hash.match(/^#request=(.+)$/);
  if (named && "controls" in document.body.dataset) find(decodeURIComponent(named[1]));
}

function when(seconds) {
  const node = make("time", "", clock.format(new Date(seconds * 1000)));
  node.dateTime = new Date(seconds * 1000).toISOString();
  return node;
}

// Of a list the first lines, unless the reader has asked for all; with a minute chosen, all of that minute.
function shownOf(id, all, began, ended) {
  const then = pinned !== null && ranged === "hour";
  const fitting = then ? all.filter((each) => began(each) < pinned + 60 && ended(each) >= pinned) : all;
  say(element(`${id}-when`), then ? `at ${minute.format(new Date(pinned * 1000))}` : "in the last hour");
  element(`${id}-section`).hidden = !all.length && !then;
  element(`${id}-none`).hidden = Boolean(fitting.length);
  const more = element(`${id}-more`);
  more.hidden = fitting.length <= FEW || opened.has(id);
  say(more, `Show all ${fitting.length}`);
  return opened.has(id) ? fitting : fitting.slice(0, FEW);
}

function showSaid() {
  const records = shownOf("said", state.said, (each) => each.began, (each) => each.ended ?? Infinity);
  fill("said", records.map(({ times, ...rest }) => rest), () =>
    records.map((record) => {
      const long = record.ended === null ? "now" : record.ended - record.began >= 1 ? when(record.ended) : "";
      const span = make("span", "span", when(record.began), ...(long ? [" – ", long] : []));
      const text = record.text.charAt(0).toUpperCase() + record.text.slice(1);
      return make("li", record.ended === null && record.level !== "INFO" ? "holds" : "", span, make("span", "", text));
    }),
  );
}

function showCauses() {
  const groups = shownOf("causes", state.causes, (each) => each.first, (each) => each.last);
  fill("causes", groups, () =>
    groups.map((group) => {
      const cause = group.error ? (CAUSES[group.error] ?? group.error) : "the backend says so";
      const what = make("td", "", make("b", group.status >= 500 ? "bad" : "", `${group.status === 499 ? "left" : (group.status ?? "–")}`), ` ${cause}`);
      what.title = group.error ?? "";
      const rest = [group.route ?? "none", group.upstream ?? "–", grouped.format(group.count)];
      const cells = rest.map((text) => make("td", "", text));
      return make("tr", "", what, ...cells, make("td", "", when(group.first)), make("td", "", when(group.last)), make("td", "", idOf(group.example)));
    }),
  );
}

const OUT = 30; // upstreams that are not up, of more the rest is counted

function showOut() {
  const out = [];
  for (const [name, row] of Object.entries(state.backends)) {
    for (const upstream of row[UPSTREAMS]) if (isOut(upstream[1]) || upstream[1] === "draining") out.push([name, upstream]);
  }
  element("out-section").hidden = !out.length;
  say(element("out-count"), out.length > OUT ? `${OUT} of ${grouped.format(out.length)}` : String(out.length));
  fill("out", [Math.floor(now() / 10), out.slice(0, OUT)], () =>
    out.slice(0, OUT).map(([name, [url, how, reason, since]]) => {
      const dot = make("td", how, make("span", "dot"), how);
      return make("tr", "", make("td", "", name), make("td", "", make("code", "", url)), dot, make("td", "", since ? duration(now() - since) : "–"), make("td", "why", reason));
    }),
  );
}

function showMade() {
  const made = state.settings;
  if (made) say(element("settings"), `version ${made.version}, ${made.hash}`);
  say(element("plugins"), state.plugins?.length ? state.plugins.join(", ") : "none");
}

// Links to the other pages of this gateway: on the main port to those that are there.
function showLinks() {
  const nav = element("links");
  if (nav.childElementCount || !state.links) return;
  const onAdmin = "controls" in document.body.dataset;
  const docs = state.links.docs;
  const origin = `${docs.tls ? "https" : "http"}:` + `//${location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname}:${docs.port}`;
  const found = [];
  if (!onAdmin) found.push(["API documents", "/docs"]);
  else if (docs.port) found.push(["API documents", `${origin}/docs`]);
  if (onAdmin) found.push(["Status", "/status"]);
  if (onAdmin && state.measured) found.push(["Metrics", "/metrics"]);
  for (const [text, href] of found) {
    const link = make("a", "", text);
    link.href = href;
    nav.append(link);
  }
}

const LIFE = { ready: "up", down: "down", starting: "unknown", draining: "unknown" };

function showWorkers() {
  element("workers").replaceChildren(
    ...state.workers.map((worker) => {
      const name = worker.name.replace(/^Sanic-Server-(\d+)-.*$/, "$1");
      const how = make("td", LIFE[worker.state] ?? "", make("span", "dot"), worker.state);
      const since = worker.since ? duration(now() - worker.since) : "–";
      const rest = [since, worker.restarts, worker.connections, worker.in_flight, time(worker.loop_lag_ms / 1000), worker.pid || "–"];
      return make("tr", "", make("td", "", name), how, ...rest.map((each) => make("td", "", String(each))));
    }),
  );
}

function showRoutes() {
  element("routes-section").hidden = !state.routes.length;
  const all = state.route_count || state.routes.length;
  const shown = state.routes.length;
  element("routes-count").textContent = shown < all ? `the ${shown} busiest of ${count(all)}` : String(all);
  element("routes").replaceChildren(
    ...state.routes.map(([name, path, to, rate, failing]) => {
      const measured = state.measured ? [count(rate), count(failing)] : ["–", "–"];
      return make("tr", "", ...[name, path, to || "–", ...measured].map((each) => make("td", "", String(each))));
    }),
  );
}

// What comes in

function takeIn(change, whole) {
  const before = state;
  skew = change.time - Date.now() / 1000;
  if (whole) {
    if (before && before.version !== change.version) location.reload();
    state = change;
  } else {
    for (const [name, row] of Object.entries(change.backends)) {
      if (row.length === UPSTREAMS) row.push(before.backends[name][UPSTREAMS]);
    }
    const backends = Object.assign(before.backends, change.backends);
    state = Object.assign(before, change, { backends });
    for (const name of Object.keys(backends)) {
      if (!(name in state.prefixes)) delete backends[name]; // a reload has taken it away
    }
  }
  const missed = before && whole ? Math.min(Math.round(change.time - lastTime) - 1, SECONDS) : 0;
  lastTime = change.time;
  if (!(selected in state.backends)) selected = ALL;
  remember(ALL, state.all, missed);
  for (const [name, row] of Object.entries(state.backends)) {
    if (row[RATE] || histories.has(name)) remember(name, row, missed);
  }
  judge(change.time);
  lookAgain();
  refresh();
}

let lastTime = 0;

// Ask the node for what was before, of what is selected.
async function look() {
  const name = selected;
  if (!state?.measured) return;
  let told = null;
  try {
    told = await past(name === ALL ? "" : name);
  } catch {
    return; // the stream tells that the gateway does not answer
  }
  if (!told || name !== selected) return;
  hour = { told, history: minutesOf(told, minute) };
  const live = histories.get(name);
  if (!live || live.next < SECONDS) histories.set(name, secondsOf(told));
  refresh();
}

let lookedAt = 0;

function lookAgain() {
  if (document.hidden || (ranged === "live" && hour)) return;
  if (Date.now() - lookedAt < AGAIN) return;
  lookedAt = Date.now();
  look();
}

function remember(name, row, missed) {
  let history = histories.get(name);
  if (!history) histories.set(name, (history = new History()));
  for (let second = 0; second < missed; second++) history.push(null);
  history.push(row ?? null);
}

function refresh() {
  if (!state || document.hidden) return;
  say(element("version"), state.version);
  sort();
  showTop();
  drawTop();
  showRows();
  showRequests("failed", state.failed);
  showRequests("slow", state.slow);
  showSaid();
  showCauses();
  showRoutes();
  showOut();
  showRefusals(state);
  showWorkers();
  showMade();
  showLinks();
  element("tools").hidden = Object.keys(state.backends).length < 4 && !wanted && !onlyTrouble;
}

// The stream

let stream = null;
let silence = 0;

function heard() {
  clearTimeout(silence);
  silence = setTimeout(() => lose("No news from the gateway"), SILENCE);
  element("gone").hidden = true;
  document.body.classList.remove("stale");
  element("link").className = "live";
  say(element("link-text"), "Live");
}

function lose(why) {
  clearTimeout(silence);
  if (stream) stream.close();
  stream = null;
  say(element("gone"), `${why}. What you see is old; trying again.`);
  element("gone").hidden = false;
  document.body.classList.add("stale");
  element("link").className = "lost";
  say(element("link-text"), "Not connected");
  setTimeout(connect, 2000);
}

function connect() {
  if (stream) return;
  stream = new EventSource("/dashboard/events");
  const take = (whole) => (event) => {
    heard();
    takeIn(JSON.parse(event.data), whole);
  };
  stream.addEventListener("whole", take(true));
  stream.addEventListener("change", take(false));
  stream.addEventListener("bye", () => lose("The gateway is stopping"));
  stream.addEventListener("error", () => lose("The gateway does not answer"));
}

// What the reader does

element("all").addEventListener("click", () => select(ALL));
element("search").addEventListener("input", (event) => {
  wanted = event.target.value.trim();
  element("scroller").scrollTop = 0;
  refresh();
});
element("trouble").addEventListener("click", (event) => {
  onlyTrouble = !onlyTrouble;
  event.target.setAttribute("aria-pressed", String(onlyTrouble));
  element("scroller").scrollTop = 0;
  refresh();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && selected !== ALL) select(ALL);
});

let asked = false;
element("scroller").addEventListener("scroll", () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    if (state) showRows();
  });
});

for (const id of ["traffic", "times"]) {
  const canvas = element(id);
  canvas.addEventListener("pointermove", (event) => {
    hovered = spansAgo(canvas, event, drawnHistory().size);
    if (state) drawTop();
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    if (state) drawTop();
  });
  canvas.addEventListener("click", (event) => {
    if (ranged === "hour" && hour) pin(minuteOf(hour.told, spansAgo(canvas, event, MINUTES)));
  });
}

function range(which) {
  ranged = which;
  hovered = null;
  element("live").setAttribute("aria-pressed", String(which === "live"));
  element("hour").setAttribute("aria-pressed", String(which === "hour"));
  element("at-label").hidden = which === "live";
  if (which === "hour") {
    lookedAt = 0;
    lookAgain();
  }
  refresh();
}

// Have the lists tell of one minute, or of all that they have: null.
function pin(at) {
  pinned = at === pinned ? null : at;
  element("at").value = pinned === null ? "" : minute.format(new Date(pinned * 1000));
  refresh();
}

element("live").addEventListener("click", () => range("live"));
element("hour").addEventListener("click", () => range("hour"));
element("at").addEventListener("change", (event) => {
  const ago = event.target.value && hour ? minutesAgo(hour.told, event.target.value) : null;
  pinned = ago === null ? null : minuteOf(hour.told, ago);
  refresh();
  if (event.target.value && ago === null) say(element("then"), "That is more than an hour ago.");
});
for (const id of ["said", "causes"]) {
  element(`${id}-more`).addEventListener("click", () => {
    opened.add(id);
    refresh();
  });
}
element("find").hidden = !("controls" in document.body.dataset);
element("find").addEventListener("submit", (event) => {
  event.preventDefault();
  find(element("id").value.trim());
});
element("request").addEventListener("close", () => history.replaceState(null, "", location.pathname));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  refresh();
});
addEventListener("resize", refresh);
document.addEventListener("visibilitychange", refresh);
readColours();
connect();
addEventListener("hashchange", follow);
follow();
