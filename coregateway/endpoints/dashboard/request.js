// One request that failed or was slow, in the dialog: its way through the gateway. All of it goes in as text.

import { size } from "./past.js";

const element = (id) => document.getElementById(id);

function make(tag, classes = "", ...children) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  node.append(...children);
  return node;
}

const ms = (number) => `${number >= 100 ? Math.round(number) : number} ms`;
const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

function facts(pairs) {
  const list = make("dl", "facts");
  for (const [name, value] of pairs) {
    if (value === undefined || value === null || value === "") continue;
    list.append(make("dt", "", name), make("dd", "", String(value)));
  }
  return list;
}

function table(heads, rows) {
  const head = make("tr", "", ...heads.map((text) => make("th", "", text)));
  const body = rows.map((cells) => make("tr", "", ...cells.map((cell) => make("td", "", cell ?? "–"))));
  return make("div", "table", make("table", "", make("thead", "", head), make("tbody", "", ...body)));
}

function tries(record) {
  const outcome = (each) => [each.status, each.error].filter((part) => part !== undefined).join(" ") || "no answer";
  const when = (number) => (number === undefined ? "–" : ms(number));
  return table(
    ["Upstream", "Began", "Sent", "Answered", "Over", "Outcome"],
    record.attempts.map((each) => [each.upstream, when(each.began_ms), when(each.sent_ms), when(each.answered_ms), when(each.ended_ms), outcome(each)]),
  );
}

function policies(record) {
  return table(
    ["Policy", "Says", "Why", "Waited"],
    record.policies.map((each) => [each.policy, each.verdict, each.why || "–", each.ms === undefined ? "–" : ms(each.ms)]),
  );
}

function changes(record) {
  const found = [];
  const changed = record.changed ?? {};
  if (changed.path) found.push(["Path", changed.path]);
  for (const [direction, of] of [["Request", changed.request], ["Response", changed.response]]) {
    for (const [what, names] of Object.entries(of ?? {})) found.push([`${direction}, ${what.replaceAll("_", " ")}`, names.join(", ")]);
  }
  return found;
}

function told(record, causes) {
  const parts = [];
  const query = record.query ? `?${record.query}` : "";
  parts.push(make("p", "line", make("code", "", `${record.method || "–"} ${record.path || "no path"}${query}`)));
  const caller = [record.client, record.consumer && `${record.consumer} by ${record.auth ?? "–"}`, record.auth_error];
  const answer = [record.status, record.error && (causes[record.error] ?? record.error)].filter(Boolean).join(", ");
  parts.push(
    facts([
      ["Answer", `${answer || "none"}${record.reason ? `: ${record.reason}` : ""}`],
      ["Error", record.error],
      ["Limited by", record.limited_by],
      ["Time", `${ms(record.ms)} to the answer, ${ms(record.duration_ms)} in all`],
      ["Waited", record.waited_ms ? `${ms(record.waited_ms)} in the queue for a connection` : null],
      ["Ended", `${stamp.format(new Date(record.time * 1000))}, in worker ${record.worker}`],
      ["From", caller.filter(Boolean).join(", ")],
      ["Route", record.route ?? "none: the gateway answers itself"],
      ["Backend", record.backend],
      ["Bytes", `${size(record.bytes_in)} in, ${size(record.bytes_out)} out`],
      ["Others", record.skipped ? `${record.skipped} like it before were not kept` : null],
    ]),
  );
  if (record.attempts?.length) parts.push(make("h3", "", "Tries"), tries(record));
  if (record.policies?.length) parts.push(make("h3", "", "Policies"), policies(record));
  const changed = changes(record);
  if (changed.length) parts.push(make("h3", "", "Changed on its way"), facts(changed));
  return make("article", "", ...parts);
}

let latest = 0;

// Ask for a request by its id, and show what is told.
export async function show(id, causes) {
  const number = ++latest;
  const dialog = element("request");
  element("request-title").textContent = id;
  element("request-told").replaceChildren(make("p", "quiet", "Looking for it."));
  if (!dialog.open) dialog.showModal();
  let parts;
  try {
    const answer = await (await fetch(`/requests/${encodeURIComponent(id)}`)).json();
    parts = (answer.requests ?? []).map((record) => told(record, causes));
    if (!parts.length) parts = [make("p", "", `${answer.detail ?? "The gateway does not know it"}.`.replace(/^n/, "N"))];
  } catch {
    parts = [make("p", "", "The gateway does not answer.")];
  }
  if (number === latest) element("request-told").replaceChildren(...parts);
}

element("close").addEventListener("click", () => element("request").close());
element("request").addEventListener("click", (event) => {
  if (event.target === element("request")) element("request").close(); // beside it
});
