// Whom the gateway refuses or ends, and why: callers, rates, limits, requests that do not fit the documents, slow
// clients. All of it goes in as text.

const element = (id) => document.getElementById(id);
const grouped = new Intl.NumberFormat();

const built = new Map(); // what each table was made of

// Make the lines of a table anew where they have changed: a reader may be marking some of them.
function fill(id, rows) {
  const text = JSON.stringify(rows);
  element(`${id}-table`).hidden = !rows.length;
  if (built.get(id) === text) return;
  built.set(id, text);
  element(id).replaceChildren(
    ...rows.map((cells) => {
      const line = document.createElement("tr");
      for (const cell of cells) line.insertCell().textContent = cell;
      return line;
    }),
  );
}

const count = (number) => (number === null || number === undefined ? "–" : grouped.format(number));

function span(seconds) {
  if (seconds === null) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function credentials(method) {
  if (method === "key") return "keys";
  return method ? `tokens of ${method.replace(/^jwt\./, "")}` : "of no known kind";
}

function sum(counts) {
  return Object.values(counts ?? {}).reduce((all, each) => all + each, 0);
}

function showCallers(callers) {
  element("callers-section").hidden = !callers;
  if (!callers) return;
  const refused = callers.refused ?? [];
  element("callers-none").hidden = refused.length > 0;
  fill("callers", refused.map((row) => [credentials(row.method), row.why || row.reason, count(row.count)]));
  fill(
    "issuers",
    callers.key_sets.map((row) => [row.name, count(row.keys), row.age_s === null ? "never" : `${span(row.age_s)} ago`, row.problem || "none"]),
  );
  fill(
    "services",
    callers.services.map((row) => [row.name, count(row.answered), row.mean_ms ? `${row.mean_ms} ms` : "–", count(row.failed && sum(row.failed))]),
  );
}

// Keys of rates and of requests in flight, the one with the least left first.
function nearestOf(rates) {
  const row = (row, left, most, following) => [left / most, [row.policy, row.key, `${count(left)} of ${count(most)}`, left ? "–" : following]];
  return [
    ...rates.nearest.map((each) => row(each, each.remaining, each.quota, `in ${span(each.wait_s)}`)),
    ...rates.nearest_in_flight.map((each) => row(each, Math.max(each.max - each.in_flight, 0), each.max, "when one ends")),
  ]
    .sort(([one], [other]) => one - other)
    .map(([, cells]) => cells);
}

function showRates(rates) {
  element("rates-section").hidden = !rates;
  if (!rates) return;
  element("rates-store").textContent = rates.store ? `The store of rates is ${rates.store}` : "";
  element("rates-store").className = rates.store === "down" ? "bad" : "quiet";
  fill(
    "rates",
    [
      ...rates.policies.map((row) => [row.name, row.rate, count(row.allowed), count(row.enforced ? row.limited : row.would_limit), row]),
      ...rates.concurrency.map((row) => [row.name, `${row.max} at a time`, "–", count(row.rejected), row]),
    ].map(([name, limit, allowed, refused, row]) => [row.enforced ? name : `${name} (not enforced)`, limit, allowed, refused]),
  );
  fill("nearest", nearestOf(rates));
}

const MODES = { report: "reported", enforce: "refused" };
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function showValidation(validation) {
  element("mismatches-section").hidden = !validation;
  if (!validation) return;
  const modes = Object.entries(validation.modes);
  const few = modes.slice(0, 10).map(([name, mode]) => `${MODES[mode] ?? mode} at ${name}`);
  if (modes.length > few.length) few.push(`and ${modes.length - few.length} more`);
  const none = validation.mismatches.length ? "" : " All of them fit so far.";
  element("validated").textContent = few.length ? `They are ${few.join(", ")}.${none}` : "";
  fill(
    "mismatches",
    validation.mismatches.map((row) => [
      row.backend,
      row.operation || "others",
      [row.in, row.at].filter(Boolean).join(" ") || "–",
      count(row.count),
      clock.format(new Date(row.last * 1000)),
    ]),
  );
}

export function show(state) {
  showCallers(state.callers);
  showRates(state.rates);
  showValidation(state.validation);
  const slow = state.slow_clients ?? [];
  element("ended-section").hidden = !slow.length;
  fill("ended", slow.map(([backend, ended]) => [backend, count(ended)]));
}
