// The console's page. Texts of the server are only ever set as text: edits are what users wrote.
"use strict";

const POLL_MS = 2000;
const RELOAD_MS = 10000;
const PAGE_SIZE = 50;
const MAX_PAGES = 20;
const MAX_SAMPLES = 40;
const ASK_TIMEOUT_MS = 35000;
const READ_TIMEOUT_MS = 10000;
const LANE = 14;
const MAX_LANES = 6;
const TOKEN_KEY = "amend-token";

const state = {
  status: null,
  sample: null,
  rates: [],
  revisions: [],
  nextPage: "",
  pages: 1,
  shown: "",
  selected: null,
  loadedAt: 0,
  etag: null,
  asking: false,
};

const $ = (id) => document.getElementById(id);

// An element with properties and children; strings become text.
function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key === "on")
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function setText(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

// ---- Calls

class CallError extends Error {
  constructor(status, error) {
    super(error.message || `HTTP ${status}`);
    this.status = status;
    this.reason = error.reason || "";
  }
}

async function call(path, body) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const reply = await fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(body === undefined ? READ_TIMEOUT_MS : ASK_TIMEOUT_MS),
  });
  const json = await reply.json().catch(() => ({}));
  if (reply.ok) return json;
  const error = new CallError(reply.status, json.error || {});
  if (reply.status === 401) signIn(error.message);
  throw error;
}

function describe(error) {
  if (error instanceof CallError) {
    return error.reason && error.reason !== error.message ? `${error.message} (${error.reason})` : error.message;
  }
  return error.name === "TimeoutError" ? "no answer in time" : "the server does not answer";
}

function signIn(why) {
  const dialog = $("sign-in");
  if (dialog.open) return;
  setText("sign-in-why", why);
  $("token").value = "";
  dialog.showModal();
}

$("sign-in").addEventListener("close", () => {
  const token = $("token").value.trim();
  $("token").value = "";
  if (token) {
    sessionStorage.setItem(TOKEN_KEY, token);
    state.etag = null;
    poll();
  }
});

// ---- Small parts

const number = (value) => Number(value).toLocaleString("en-US");
const score = (value) => Number(value).toFixed(2);
const plural = (count, word) => `${number(count)} ${word}${Number(count) === 1 ? "" : "s"}`;

function ago(text) {
  const seconds = Math.max(0, (Date.now() - Date.parse(text)) / 1000);
  if (seconds < 60) return "just now";
  for (const [size, unit] of [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
  ]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return "";
}

function when(text, kind = "when") {
  if (!text) return null;
  return h("time", { class: kind, datetime: text, title: new Date(text).toLocaleString() }, ago(text));
}

// A bar from 0 to 1, with a tick at the threshold.
function meter(value, kind = "", threshold = undefined) {
  const share = Math.min(1, Math.max(0, value));
  const bar = svg(
    "svg",
    { class: `meter ${kind}`, "aria-hidden": "true" },
    svg("rect", { width: `${(share * 100).toFixed(1)}%`, height: "6", fill: "currentColor" }),
  );
  if (threshold !== undefined && threshold > 0 && threshold < 1) {
    const x = `${(threshold * 100).toFixed(1)}%`;
    bar.append(svg("line", { x1: x, x2: x, y1: "0", y2: "6" }));
  }
  return bar;
}

function stateChip(revision) {
  const kinds = { VALIDATED: "good", REJECTED: "bad", TEMPORARY: "wait" };
  return h("span", { class: `chip ${kinds[revision.state] || ""}` }, revision.state.toLowerCase());
}

function marks(revision) {
  const chips = revision.labels.map((label) =>
    h("span", { class: label === "live" ? "chip live" : "chip wait" }, label),
  );
  if (revision.pinned) chips.push(h("span", { class: "chip" }, "pinned"));
  if (revision.purge_time) chips.push(h("span", { class: "chip" }, "purged"));
  else if (revision.delete_time) chips.push(h("span", { class: "chip" }, "deleted"));
  return chips;
}

const CHECKS = ["reliability", "generality", "locality"];

// One score beside its threshold. Scores that were not measured are absent.
function scoreItem(name, value, threshold, meterToo = true) {
  if (value === undefined || value === null) return null;
  const bad = threshold !== undefined && value < threshold;
  return h(
    "span",
    { class: bad ? "score bad" : "score" },
    name,
    h("b", {}, score(value)),
    meterToo ? meter(value, bad ? "bad" : "", threshold) : null,
  );
}

// ---- What the server does now

function showStatus(status) {
  const server = status.server;
  const model = server.model || {};
  setText(
    "model",
    `${model.name || ""} · ${model.architecture || ""}, ${model.layers} layers, ${number(model.parameters)} parameters, ${model.device} ${model.dtype}`,
  );
  setText("version", `amendd ${server.version}.`);
  const live = server.live ? server.live.revision : "0";
  setText("live", live);
  setText("live-note", live === server.latest_revision ? "the newest" : `newest is ${server.latest_revision}`);
  document.title = `Amend: revision ${live}`;
  setText("running", number(server.running_sequences));
  setText("waiting", number(server.waiting_sequences));
  setText("queue", number(server.edit_queue_depth));
  setText("kv", `${Math.round(status.kv_cache_usage_ratio * 100)} %`);
  $("kv-bar").replaceChildren(meter(status.kv_cache_usage_ratio, status.kv_cache_usage_ratio > 0.9 ? "bad" : "plain"));
  showRate(status.tokens);
}

function showRate(tokens) {
  const now = performance.now();
  const before = state.sample;
  state.sample = { tokens, now };
  if (!before || tokens < before.tokens) return;
  const rate = ((tokens - before.tokens) * 1000) / (now - before.now);
  state.rates = [...state.rates, rate].slice(-MAX_SAMPLES);
  setText("rate", rate < 10 ? rate.toFixed(1) : number(Math.round(rate)));
  const top = Math.max(...state.rates, 1);
  const points = state.rates.map(
    (r, i) => `${((i * 72) / (MAX_SAMPLES - 1)).toFixed(1)},${(21 - (r / top) * 20).toFixed(1)}`,
  );
  $("rate-chart").replaceChildren(
    svg(
      "svg",
      { viewBox: "0 0 72 22", "aria-hidden": "true" },
      svg("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "1.5" }),
    ),
  );
}

// ---- The timeline

// For each revision, newest first: its lane, the lanes that come in from above, and those that go on below.
function layOut(revisions) {
  const lanes = [];
  return revisions.map((revision) => {
    const above = [...lanes];
    let lane = lanes.indexOf(revision.revision);
    if (lane < 0) {
      lane = lanes.indexOf(null);
      if (lane < 0) lane = lanes.length;
    }
    for (let i = 0; i < lanes.length; ++i) if (lanes[i] === revision.revision) lanes[i] = null;
    lanes[lane] = revision.revision === "0" ? null : revision.parent;
    while (lanes.length > 0 && lanes[lanes.length - 1] === null) lanes.pop();
    return { revision, lane, above, below: [...lanes] };
  });
}

const laneX = (lane) => Math.min(lane, MAX_LANES) * LANE + 12;

function graph(row, width) {
  const x = laneX(row.lane);
  const picture = svg("svg", { class: "graph", width, "aria-hidden": "true" });
  const line = (x1, y1, x2, y2) =>
    picture.append(svg("line", { x1, y1, x2, y2, stroke: "currentColor", "stroke-width": "1.5", opacity: "0.55" }));
  row.above.forEach((expected, i) => {
    if (expected === null) return;
    if (expected === row.revision.revision) line(laneX(i), "0%", x, "50%");
    else if (row.below[i] === expected) line(laneX(i), "0%", laneX(i), "50%");
  });
  row.below.forEach((expected, i) => {
    if (expected !== null) line(laneX(i), "50%", laneX(i), "100%");
  });
  const live = row.revision.labels.includes("live");
  const hollow = row.revision.state !== "VALIDATED";
  picture.append(
    svg("circle", {
      cx: x,
      cy: "50%",
      r: live ? "6" : "4.5",
      "stroke-width": "2",
      stroke: hollow ? "var(--bad)" : "var(--accent)",
      fill: hollow ? "var(--card)" : "var(--accent)",
    }),
  );
  return picture;
}

function summary(revision) {
  if (revision.revision === "0") return [h("span", {}, "the unedited model")];
  if (revision.withdrawn.length > 0) return [h("span", {}, `takes ${plural(revision.withdrawn.length, "edit")} back`)];
  const report = revision.gate_report || {};
  const thresholds = report.thresholds || {};
  return CHECKS.map((name) => scoreItem(name, report[name], thresholds[name])).filter((item) => item !== null);
}

function timelineRow(row, width) {
  const revision = row.revision;
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        "data-revision": revision.revision,
        "aria-pressed": String(revision.revision === state.selected),
        on: { click: () => select(revision.revision, true) },
      },
      graph(row, width),
      h(
        "span",
        { class: "row" },
        h(
          "span",
          { class: "top" },
          h("span", { class: "number" }, `Revision ${revision.revision}`),
          revision.edit_count > 0 ? h("span", { class: "muted" }, plural(revision.edit_count, "edit")) : null,
          stateChip(revision),
          ...marks(revision),
          when(revision.create_time),
        ),
        h("span", { class: "scores" }, ...summary(revision)),
      ),
    ),
  );
}

function showTimeline() {
  const rows = layOut(state.revisions);
  const lanes = Math.min(
    MAX_LANES,
    Math.max(...rows.map((row) => Math.max(row.lane + 1, row.above.length, row.below.length)), 1),
  );
  const width = laneX(lanes - 1) + 14;
  const focused = document.activeElement ? document.activeElement.getAttribute("data-revision") : null;
  $("timeline").style.setProperty("--graph", `${width}px`);
  $("timeline").replaceChildren(...rows.map((row) => timelineRow(row, width)));
  if (focused) {
    const again = [...$("timeline").querySelectorAll("button")].find((b) => b.dataset.revision === focused);
    if (again) again.focus();
  }
  $("older").hidden = !state.nextPage || state.pages >= MAX_PAGES;
  showChoices();
}

// The revisions that can be asked beside the live one.
function showChoices() {
  const list = $("other");
  const live = state.status ? state.status.server.live.revision : "0";
  const usable = state.revisions.filter(
    (r) => r.state === "VALIDATED" && !r.delete_time && !r.purge_time && r.revision !== live,
  );
  const chosen = list.value;
  const atLive = state.revisions.find((r) => r.revision === live);
  const names = usable.map((r) => r.revision);
  if (list.dataset.names !== names.join(" ")) {
    list.dataset.names = names.join(" ");
    list.replaceChildren(
      ...usable.map((r) =>
        h(
          "option",
          { value: r.revision },
          r.revision === "0"
            ? "revision 0, the unedited model"
            : `revision ${r.revision}, ${plural(r.line_edit_count, "edit")} in its line`,
        ),
      ),
    );
    if (usable.length === 0) list.append(h("option", { value: live }, `revision ${live}, the only one`));
  }
  const parent = atLive && atLive.revision !== "0" ? atLive.parent : "0";
  list.value = names.includes(chosen) ? chosen : names.includes(parent) ? parent : names[0] || live;
}

async function loadRevisions() {
  const revisions = [];
  let token = "";
  for (let page = 0; page < state.pages; ++page) {
    const reply = await call(`api/v1/revisions?page_size=${PAGE_SIZE}&page_token=${encodeURIComponent(token)}`);
    revisions.push(...reply.revisions);
    token = reply.next_page_token;
    if (!token) break;
  }
  if (!token) revisions.push(await call("api/v1/revisions/0"));
  state.nextPage = token;
  state.loadedAt = performance.now();
  const text = JSON.stringify(revisions);
  if (text === state.shown) return;
  state.shown = text;
  state.revisions = revisions;
  showTimeline();
  const live = state.status ? state.status.server.live.revision : null;
  if (state.selected === null && live !== null) await select(live, false);
  else if (state.selected !== null) await showRevision(state.selected);
}

$("older").addEventListener("click", () => {
  state.pages += 1;
  loadRevisions().catch(complain);
});

// ---- One revision

async function select(revision, scroll) {
  state.selected = revision;
  for (const button of $("timeline").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.revision === revision));
  }
  await showRevision(revision).catch(complain);
  if (scroll && window.matchMedia("(max-width: 900px)").matches) $("detail").scrollIntoView();
}

function fact(name, ...value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
}

function revisionButton(revision, text) {
  return h("button", { type: "button", class: "chip", on: { click: () => select(revision, true) } }, text);
}

function facts(revision) {
  const norms = revision.layer_norms.map((norm) => norm.update_norm_ratio);
  return h(
    "dl",
    { class: "facts" },
    revision.revision === "0" ? null : fact("Parent", revisionButton(revision.parent, `revision ${revision.parent}`)),
    revision.session ? fact("Batch", h("span", { class: "code" }, `${revision.session} : ${revision.offset}`)) : null,
    revision.actor ? fact("By", revision.actor) : null,
    revision.create_time
      ? fact(
          "Made",
          new Date(revision.create_time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
        )
      : null,
    fact("Edits", `${number(revision.edit_count)} here, ${number(revision.line_edit_count)} in its line`),
    norms.length > 0 ? fact("Largest update", `${Math.max(...norms).toFixed(2)} × the weight's norm`) : null,
  );
}

function gateRow(name, value, threshold, bad, isShare = true) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name),
    h("td", { class: "number" }, isShare ? score(value) : `${value >= 0 ? "+" : ""}${(value * 100).toFixed(1)} %`),
    h(
      "td",
      { class: "number" },
      threshold === undefined ? "–" : isShare ? `≥ ${score(threshold)}` : `≤ +${(threshold * 100).toFixed(1)} %`,
    ),
    h("td", { class: "gauge" }, isShare ? meter(value, bad ? "bad" : "", threshold) : ""),
  );
}

function gate(revision) {
  const report = revision.gate_report;
  if (!report) return [];
  const thresholds = report.thresholds || {};
  const rows = [...CHECKS, "background", "retention"]
    .filter((name) => report[name] !== undefined && report[name] !== null)
    .map((name) =>
      gateRow(name, report[name], thresholds[name], thresholds[name] !== undefined && report[name] < thresholds[name]),
    );
  if (typeof report.perplexity_change === "number") {
    rows.push(gateRow("perplexity", report.perplexity_change, thresholds.max_perplexity_change, false, false));
  }
  if (typeof report.reverted === "number") rows.push(gateRow("reverted", report.reverted, undefined, false));
  return [
    h("h3", {}, report.mode === "REPORT" ? "Gate (reports only)" : "Gate"),
    h(
      "table",
      { class: "checks" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "check"),
          h("th", { scope: "col", class: "number" }, "measured"),
          h("th", { scope: "col", class: "number" }, "asked for"),
          h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "bar")),
        ),
      ),
      h("tbody", {}, ...rows),
    ),
    report.failures.length > 0
      ? h("ul", { class: "failures" }, ...report.failures.map((line) => h("li", {}, line)))
      : null,
  ];
}

// The prompt with its subject set off.
function promptParts(edit) {
  const at = edit.prompt.indexOf(edit.subject);
  if (at < 0 || !edit.subject) return [edit.prompt];
  return [edit.prompt.slice(0, at), h("b", {}, edit.subject), edit.prompt.slice(at + edit.subject.length)];
}

function editItem(edit, result, index, thresholds) {
  const verdict = !result
    ? null
    : result.violation
      ? h("span", { class: "chip bad" }, "malformed")
      : result.dropped
        ? h("span", { class: "chip bad" }, "left out")
        : h("span", { class: result.passed ? "chip good" : "chip bad" }, result.passed ? "passed" : "failed");
  const overlaps = result ? result.overlaps : [];
  return h(
    "li",
    { class: `edit ${result ? (result.passed && !result.dropped ? "passed" : "failed") : ""}` },
    h(
      "p",
      { class: "fact" },
      h("span", { class: "muted" }, `${index} `),
      ...promptParts(edit),
      " → ",
      h("span", { class: "target" }, edit.target_new),
    ),
    h(
      "p",
      { class: "line" },
      verdict,
      ...(result ? CHECKS.map((name) => scoreItem(name, result[name], thresholds[name])) : []),
      h("button", { type: "button", class: "plain", on: { click: () => askFor(edit.prompt) } }, "Ask"),
    ),
    result && result.violation
      ? h("p", { class: "warning" }, `${result.violation.field}: ${result.violation.description}`)
      : null,
    overlaps.length > 0
      ? h(
          "p",
          { class: "warning" },
          ...overlaps.flatMap((o) => [
            o.same_prompt ? "supersedes " : "fires where this one does: ",
            revisionButton(o.revision, `edit ${o.revision}:${o.edit_index}`),
            " ",
          ]),
        )
      : null,
  );
}

async function showRevision(number) {
  const revision = await call(`api/v1/revisions/${number}`);
  if (state.selected !== number) return;
  revision.withdrawn = revision.withdrawn || [];
  const thresholds = (revision.gate_report && revision.gate_report.thresholds) || {};
  setText("detail-title", `Revision ${revision.revision}`);
  $("detail-state").replaceChildren(stateChip(revision), ...marks(revision).flatMap((chip) => [" ", chip]));
  const edits = revision.edits.map((edit, i) => editItem(edit, revision.edit_results[i], i, thresholds));
  const parts = [facts(revision), ...gate(revision)];
  if (revision.withdrawn.length > 0) {
    parts.push(
      h("h3", {}, "Edits that it takes back"),
      h(
        "p",
        { class: "fired" },
        ...revision.withdrawn.map((edit) => revisionButton(edit.revision, `edit ${edit.revision}:${edit.edit_index}`)),
      ),
    );
  }
  if (edits.length > 0) parts.push(h("h3", {}, `Edits`), h("ol", { class: "edits" }, ...edits));
  if (revision.revision === "0")
    parts.push(h("p", { class: "muted" }, "The model as it was loaded, without any edit."));
  $("detail-body").replaceChildren(...parts.filter((part) => part !== null));
}

// ---- Changes

async function loadChanges() {
  const reply = await call("api/v1/audit?page_size=12");
  $("changes").replaceChildren(
    ...reply.records.map((record) =>
      h(
        "li",
        {},
        h(
          "span",
          {},
          h("b", {}, record.verb.replace(/_/g, " ")),
          record.label ? ` ${record.label}` : "",
          record.from === record.to ? ` revision ${record.to}` : ` ${record.from} → ${record.to}`,
          h("span", { class: "muted" }, ` by ${record.actor}`),
        ),
        when(record.time, "muted"),
        record.reason ? h("span", { class: "reason" }, record.reason) : null,
      ),
    ),
  );
  if (reply.records.length === 0) $("changes").replaceChildren(h("li", { class: "muted" }, "Nothing yet."));
}

// ---- Asking

function askFor(prompt) {
  $("prompt").value = prompt;
  $("ask").scrollIntoView({ block: "center" });
  $("ask").requestSubmit();
}

function answerCard(title, chip) {
  const body = h("div", {}, h("p", { class: "muted" }, "asking …"));
  const card = h("article", { class: "answer" }, h("h3", {}, title, chip), body);
  return { card, body };
}

function fired(reply) {
  const names = [...new Set(reply.hook_firings.map((f) => `${f.revision}:${f.edit_index}`))];
  if (names.length === 0) return h("p", { class: "muted" }, "no edit fired");
  return h(
    "p",
    { class: "fired" },
    h("span", { class: "muted" }, names.length === 1 ? "fired: edit" : "fired: edits"),
    ...names.slice(0, 12).map((name) => revisionButton(name.split(":")[0], name)),
    names.length > 12 ? h("span", { class: "muted" }, `and ${names.length - 12} more`) : null,
  );
}

async function askOne(prompt, tokens, at, slot) {
  try {
    const reply = await call("api/v1/generate", { prompt, max_new_tokens: tokens, at, trace_hooks: true });
    slot.body.replaceChildren(
      h("blockquote", {}, h("span", {}, prompt), h("strong", {}, reply.text)),
      h(
        "p",
        { class: "muted" },
        `revision ${reply.revision} · ${plural(reply.usage.generated_tokens, "token")} in ${(reply.timings.total_seconds * 1000).toFixed(0)} ms · ${reply.finish_reason.toLowerCase().replace(/_/g, " ")}`,
      ),
      fired(reply),
    );
    return reply;
  } catch (error) {
    slot.card.classList.add("failed");
    slot.body.replaceChildren(h("p", { role: "alert" }, describe(error)));
    return null;
  }
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (state.asking) return;
  const prompt = $("prompt").value;
  const tokens = Number($("tokens").value);
  const other = $("other").value;
  state.asking = true;
  $("ask-button").disabled = true;
  $("verdict").className = "verdict";
  setText("verdict", "");
  const left = answerCard(`Revision ${other}`, null);
  const right = answerCard("Live", h("span", { class: "chip live" }, "live"));
  $("answers").replaceChildren(left.card, right.card);
  const [older, live] = await Promise.all([
    askOne(prompt, tokens, { revision: other }, left),
    askOne(prompt, tokens, { label: "live" }, right),
  ]);
  if (older && live) {
    const same = older.text === live.text;
    $("verdict").className = same ? "verdict" : "verdict differ";
    setText("verdict", same ? "Both give the same answer." : "The answers differ.");
  }
  state.asking = false;
  $("ask-button").disabled = false;
});

// ---- Keeping up

function complain(error) {
  const notice = $("notice");
  notice.hidden = false;
  notice.textContent = describe(error);
}

function connected(up) {
  const mark = $("connection");
  mark.className = up ? "connection up" : "connection down";
  setText("connection", up ? "connected" : "not reachable");
}

async function poll() {
  try {
    const status = await call("api/v1/status");
    state.status = status;
    connected(true);
    $("notice").hidden = true;
    showStatus(status);
    const etag = `${status.server.live.etag} ${status.server.latest_revision}`;
    if (etag !== state.etag || performance.now() - state.loadedAt > RELOAD_MS) {
      state.etag = etag;
      await Promise.all([loadRevisions(), loadChanges()]);
    }
  } catch (error) {
    state.sample = null;
    connected(error instanceof CallError && error.status < 500);
    complain(error);
  }
}

async function keepUp() {
  if (document.visibilityState === "visible") await poll();
  setTimeout(keepUp, POLL_MS);
}

keepUp();
