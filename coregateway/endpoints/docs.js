// The page /docs: all operations of the merged document, by backend, searched and opened one at a time.
//
// Swagger UI shows an operation and tries it out. It is given that operation alone, with what it refers to:
// the whole of a large document would take it seconds for each. Nothing here puts text in as markup.

"use strict";

const MOST_FOUND = 200; // operations that a search shows
const PATH_CHARACTERS = /%(?:2F|3A|40|21|24|26|27|28|29|2A|2B|2C|3B|3D|25(?=[0-9A-F]{2}))/gi;
const METHODS = ["get", "put", "post", "delete", "options", "head", "patch"];
const STATES = {
  fetched: "up to date",
  stale: "stale: its last document",
  absent: "no document",
  refused: "document unusable",
  waiting: "waiting for its document",
};

const keys = new Map(); // what was typed, by the name of a security scheme
let whole = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A line of Markdown: code and emphasis, and no more.
function line(text) {
  const made = document.createDocumentFragment();
  for (const part of String(text).split(/(`+[^`]+`+|\*\*?[^*`]+\*\*?)/)) {
    if (/^`+[^`]+`+$/.test(part)) made.append(element("code", {}, part.replace(/^`+|`+$/g, "")));
    else if (/^\*\*?[^*]+\*\*?$/.test(part)) made.append(element("em", {}, part.replace(/\*/g, "")));
    else made.append(part.replaceAll("`", ""));
  }
  return made;
}

// The document, taken apart.

function groupsOf(api) {
  const groups = new Map();
  for (const tag of api.tags ?? []) {
    if (tag["x-coregateway"] || !api.tags.some((each) => owns(each, tag.name))) {
      groups.set(tag.name, { name: tag.name, about: tag.description ?? "", told: tag["x-coregateway"], rows: [] });
    }
  }
  const backends = [...groups.values()].filter((group) => group.told).map((group) => group.name);
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const tag = operation.tags?.[0] ?? "";
      const backend = backends.find((name) => tag === name || tag.startsWith(`${name}: `)) ?? tag;
      if (!groups.has(backend)) groups.set(backend, { name: backend, about: "", rows: [] });
      const id = operation.operationId ?? `${method} ${path}`;
      const summary = operation.summary ?? "";
      groups.get(backend).rows.push({
        path, method, id, summary, operation,
        section: tag === backend ? "" : tag.slice(backend.length + 2),
        sought: `${method} ${path} ${summary} ${id}`.toLowerCase(),
      });
    }
  }
  return [...groups.values()];
}

function owns(tag, name) {
  return Boolean(tag["x-coregateway"]) && name.startsWith(`${tag.name}: `);
}

// One operation as a document of its own: with it, what it refers to, and what that refers to.
function alone(api, row) {
  const found = {
    openapi: api.openapi,
    info: { title: row.id, version: api.info.version ?? "" },
    servers: [{ url: "/" }],
    paths: { [row.path]: { [row.method]: row.operation } },
    components: {},
  };
  const waiting = [row.operation];
  const add = (kind, name) => {
    const component = api.components?.[kind]?.[name];
    if (component === undefined || found.components[kind]?.[name] !== undefined) return;
    (found.components[kind] ??= {})[name] = component;
    waiting.push(component);
  };
  const follow = (reference) => {
    const [, first, kind, name] = reference.split("/").map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
    if (first === "components") add(kind, name);
  };
  while (waiting.length) {
    const thing = waiting.pop();
    if (Array.isArray(thing)) waiting.push(...thing);
    else if (thing && typeof thing === "object") {
      for (const [key, value] of Object.entries(thing)) {
        if (key === "$ref" && typeof value === "string") follow(value);
        else if (key === "mapping") Object.values(value ?? {}).forEach((each) => typeof each === "string" && follow(each));
        else if (!["example", "examples", "default", "enum", "const"].includes(key) || key === "examples") waiting.push(value);
      }
    }
  }
  return found;
}

// What is shown

function shownRow(row) {
  const id = `op-${row.id}`;
  const title = element("span", { class: "path" }, row.path);
  const head = element(
    "summary", {},
    element("span", { class: `method ${row.method}` }, row.method.toUpperCase()),
    title,
    element("span", { class: "summary" }, line(row.summary)),
  );
  if (row.operation.deprecated) title.classList.add("deprecated");
  const panel = element("div", { class: "operation" });
  const shown = element("details", { class: "row", id, "data-operation": row.id }, head, panel);
  shown.addEventListener("toggle", () => {
    if (shown.open && !panel.hasChildNodes()) open(row, panel);
    if (shown.open) history.replaceState(null, "", `#/${encodeURIComponent(row.id)}`);
  });
  return shown;
}

function open(row, panel) {
  const spec = alone(whole, row);
  const schemes = new Set((row.operation.security ?? []).flatMap((each) => Object.keys(each)));
  const asked = [...schemes].filter((name) => whole.components?.securitySchemes?.[name]);
  if (asked.length) panel.append(shownKeys(asked));
  delete spec.components.securitySchemes;
  spec.paths[row.path][row.method] = { ...row.operation, security: undefined, summary: undefined };
  const place = element("div");
  panel.append(place);
  const generic = row.path.endsWith("/{path}") && row.section === "" && row.operation.parameters?.some((each) => each.$ref?.startsWith("#/components/parameters/Path-"));
  SwaggerUIBundle({
    spec,
    domNode: place,
    docExpansion: "full",
    defaultModelsExpandDepth: -1,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
    requestInterceptor: (request) => sent(request, asked, generic),
  });
}

function shownKeys(names) {
  const fields = names.map((name) => {
    const scheme = whole.components.securitySchemes[name];
    const kind = scheme.type === "apiKey" ? `${scheme.name} (${scheme.in})` : scheme.scheme ?? scheme.type;
    const field = element("input", { type: "password", autocomplete: "off", "data-scheme": name });
    field.value = keys.get(name) ?? "";
    field.addEventListener("input", () => keys.set(name, field.value));
    const hint = scheme.scheme?.toLowerCase() === "basic" ? " user:password" : "";
    return element("label", {}, `${name}: ${kind}${hint} `, field);
  });
  return element("form", { class: "keys", "aria-label": "Keys" }, ...fields);
}

// A request as it leaves: with the keys that were typed, and a {path} of the gateway's as it was typed, for it
// may be of any depth and have a query.
function sent(request, schemes, generic) {
  const url = new URL(request.url, window.location.href);
  if (generic) {
    const [path, ...query] = url.pathname.replace(PATH_CHARACTERS, decodeURIComponent).split("%3F");
    url.pathname = path;
    const all = [...query, url.search.slice(1)].filter(Boolean).join("&");
    request.url = url.origin + path + (all ? `?${all}` : "");
  }
  request.headers ??= {};
  for (const name of schemes) {
    const scheme = whole.components.securitySchemes[name];
    const value = keys.get(name);
    if (!value) continue;
    const kind = scheme.scheme?.toLowerCase();
    if (scheme.type === "apiKey" && scheme.in === "header") request.headers[scheme.name] = value;
    else if (scheme.type === "apiKey" && scheme.in === "query") request.url += `${request.url.includes("?") ? "&" : "?"}${encodeURIComponent(scheme.name)}=${encodeURIComponent(value)}`;
    else if (kind === "basic") request.headers.Authorization = `Basic ${btoa(value)}`;
    else if (scheme.type !== "apiKey") request.headers.Authorization = `Bearer ${value}`;
  }
  return request;
}

function shownGroup(group) {
  const state = group.told?.state;
  const badge = state ? [element("span", { class: `state ${state}` }, STATES[state] ?? state)] : [];
  const count = element("span", { class: "count" }, `${group.rows.length} operation${group.rows.length === 1 ? "" : "s"}`);
  const head = element("summary", {}, element("h2", {}, group.name), ...badge, count);
  const rows = element("div", { class: "rows" });
  const shown = element("details", { class: "group", "data-backend": group.name }, head, rows);
  const fill = () => {
    if (rows.hasChildNodes()) return;
    if (group.about) rows.append(element("p", { class: "about" }, line(group.about.split("\n\n")[0])));
    if (group.told?.alone) rows.append(element("p", { class: "about" }, element("a", { href: `/docs?backend=${encodeURIComponent(group.name)}` }, "Its own page (Swagger 2)")));
    rows.append(...sections(group.rows));
  };
  shown.addEventListener("toggle", () => shown.open && fill());
  return { shown, fill };
}

function sections(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.section, [...(found.get(row.section) ?? []), shownRow(row)]);
  return [...found].flatMap(([name, each]) => (name ? [element("h3", {}, name), ...each] : each));
}

function show(groups, sought) {
  const main = document.getElementById("backends");
  const told = document.getElementById("told");
  main.dataset.sought = sought;
  const words = sought.toLowerCase().split(/\s+/).filter(Boolean);
  const all = groups.reduce((sum, group) => sum + group.rows.length, 0);
  if (!words.length) {
    const made = groups.map((group) => ({ ...shownGroup(group), group }));
    main.replaceChildren(...made.map((each) => each.shown));
    if (groups.length === 1) made[0].shown.open = true;
    told.textContent = `${all} operations of ${groups.length} groups`;
    return made;
  }
  let left = MOST_FOUND;
  let number = 0;
  const found = [];
  for (const group of groups) {
    const rows = group.rows.filter((row) => words.every((word) => row.sought.includes(word)));
    number += rows.length;
    if (!rows.length || left <= 0) continue;
    const made = shownGroup({ ...group, rows: rows.slice(0, left) });
    left -= rows.length;
    made.fill();
    made.shown.open = true;
    found.push(made.shown);
  }
  main.replaceChildren(...found);
  told.textContent = number > MOST_FOUND ? `The first ${MOST_FOUND} of ${number} operations` : `${number} of ${all} operations`;
  return [];
}

function openNamed(made) {
  const id = decodeURIComponent(location.hash.replace(/^#\//, ""));
  const holder = made.find((each) => each.group.rows.some((row) => row.id === id));
  if (!id || !holder) return;
  holder.fill();
  holder.shown.open = true;
  const row = document.getElementById(`op-${id}`);
  row.open = true;
  row.scrollIntoView();
}

async function start() {
  const backend = new URLSearchParams(location.search).get("backend");
  if (backend !== null) {
    document.querySelector("search").remove();
    document.getElementById("told").textContent = `${backend}, by its own document`;
    SwaggerUIBundle({ url: `/openapi/${encodeURIComponent(backend)}.json`, dom_id: "#backends", docExpansion: "list", validatorUrl: null });
    return;
  }
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  whole = await answer.json();
  const groups = groupsOf(whole);
  const field = document.getElementById("search");
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => show(groups, field.value), 80);
  });
  openNamed(show(groups, field.value));
  window.shown = true;
}

start().catch((error) => {
  document.getElementById("told").textContent = `The document cannot be shown: ${error.message}`;
});
