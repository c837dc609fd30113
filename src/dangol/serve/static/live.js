// The live page: one look at the status a second, drawn in place. No framework, no build.
import { bytes, compact, lang, moment, number, percent, setLang, t } from "./words.js";
import { startSimulatorPanel, drawSimulator } from "./simulator.js";
import { ask, forgetKey, keepKey } from "./ask.js";

const SEGMENTS = ["vip", "dormant", "mid", "low"];
const SHOWN_CHANGES = 40;
const SAMPLES = 120;
const PERIOD = 1000;

const $ = (id) => document.getElementById(id);
const rates = [];
let status = null;
let next = 0; // the timer of the next look: there is one at most
let seen = null; // sequence number of the newest change on the page

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function translate() {
  document.documentElement.lang = lang;
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]"))
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  const other = lang === "ko" ? ["EN", "en", "Switch to English"] : ["한국어", "ko", "한국어로 바꾸기"];
  $("lang").textContent = other[0];
  $("lang").lang = other[1];
  $("lang").setAttribute("aria-label", other[2]);
}

function drawNumbers() {
  $("clock").textContent = status.clock ? `${moment(status.clock)} UTC` : "–";
  if (status.clock) $("clock").dateTime = status.clock;
  $("rate").textContent = number(status.lines_per_second);
  $("delay").textContent = status.delay_p99_ms == null ? "–" : number(status.delay_p99_ms, 1);
  const commit = [status.commit_p50_ms, status.commit_p99_ms];
  $("commit").textContent = commit[0] == null ? "–" : `${commit.map((ms) => number(ms, 1)).join(" / ")} ms`;
  $("queue").textContent = bytes(status.queue_bytes);
  $("live").textContent = number(status.live_customers);
  $("customers").textContent = number(status.customers);
  $("changes-count").textContent = number(status.changes);
  $("events").textContent = number(status.events);
  $("empty").hidden = status.events > 0;
  const model = status.model;
  $("model").textContent = model.starting ? t("model_starting") : t("model", { version: model.version, name: t(model.name) });
  $("model").classList.toggle("starting", model.starting);
  $("foot").textContent = t("foot", {
    version: status.version,
    batches: number(status.batches),
    disk: bytes(status.disk_bytes),
    matched: number(status.cancellations.matched),
    partly: number(status.cancellations.partly),
    unmatched: number(status.cancellations.unmatched),
  });
}

function drawSpark() {
  const top = Math.max(...rates, 1);
  const step = 120 / (SAMPLES - 1);
  const from = SAMPLES - rates.length;
  const points = rates.map((rate, i) => `${((from + i) * step).toFixed(2)} ${(34 - (rate / top) * 31).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  $("spark").querySelector(".line").setAttribute("d", line);
  $("spark").querySelector(".area").setAttribute("d", line ? `${line}L120 36L${(from * step).toFixed(2)} 36Z` : "");
  $("spark").setAttribute("aria-label", t("spark", { n: number(top) }));
}

function drawSegments() {
  const inSegments = SEGMENTS.map((name) => status.segments[name] ?? { customers: 0, monetary: 0 });
  const people = inSegments.reduce((sum, segment) => sum + segment.customers, 0) || 1;
  const money = inSegments.reduce((sum, segment) => sum + segment.monetary, 0) || 1;
  const list = $("segments");
  const stack = $("stack");
  if (!list.children.length) {
    for (const name of SEGMENTS) {
      stack.append(make("i", `seg-${name}`));
      const item = make("li", `segment seg-${name}`);
      item.append(make("h3"), make("p", "count"), make("p", "part"), make("p", "sales"));
      list.append(item);
    }
  }
  SEGMENTS.forEach((name, i) => {
    const { customers, monetary } = inSegments[i];
    const [title, count, part, sales] = list.children[i].children;
    title.textContent = t(name);
    count.textContent = t("customers_n", { n: number(customers) });
    part.textContent = percent(customers / people);
    sales.textContent = `${t("sales")} ${compact(monetary)} · ${percent(monetary / money)}`;
    stack.children[i].style.flexGrow = String(customers / people);
  });
  stack.setAttribute("aria-label", SEGMENTS.map((name, i) => `${t(name)} ${percent(inSegments[i].customers / people)}`).join(", "));
  const none = status.segments.none?.customers ?? 0;
  $("none").textContent = none ? t("none_line", { n: number(none) }) : "";
}

function drawCounts() {
  const parts = { ...status, rejected: status.rejected_total };
  const items = ["accepted", "anonymous", "rejected", "duplicates"].map((name) => {
    const item = make("li", name === "rejected" && parts.rejected ? "some" : "");
    item.append(make("b", "", number(parts[name])), make("span", "", t(name)));
    return item;
  });
  $("counts").replaceChildren(...items);
  const reasons = Object.entries(status.rejected).filter(([, count]) => count).sort((a, b) => b[1] - a[1]);
  const others = reasons.slice(4).reduce((sum, [, count]) => sum + count, 0);
  const shown = others ? [...reasons.slice(0, 4), [t("others"), others]] : reasons.slice(0, 4);
  const rows = shown.map(([reason, count]) => {
    const row = make("li");
    row.append(make("code", "", reason), make("span", "", number(count)));
    return row;
  });
  $("reasons").replaceChildren(...rows);
}

function chip(name) {
  return make("span", `chip seg-${name}`, t(name));
}

function changeRow(change) {
  const row = make("li", "change");
  row.dataset.change = JSON.stringify(change);
  const id = make("b", "who", change.customer ?? "–");
  const move = make("span", "move");
  move.append(chip(change.before), make("span", "arrow", "→"), chip(change.after));
  const why = make("span", "why", t(`by_${change.cause}`));
  why.title = (change.events ?? []).join(", ");
  const when = make("time", "when", moment(change.at));
  when.dateTime = change.at;
  row.append(id, move, why, when);
  return row;
}

async function drawChanges() {
  const newest = status.changes;
  if (seen !== null && newest < seen) seen = null; // another data folder
  if (newest === seen) return;
  const after = Math.max(seen ?? 0, newest - SHOWN_CHANGES, 0);
  const { changes } = await ask(`/v1/changes?after=${after}&limit=${SHOWN_CHANGES}`);
  if (seen === null) $("changes").replaceChildren();
  for (const change of changes) $("changes").prepend(changeRow(change));
  while ($("changes").children.length > SHOWN_CHANGES) $("changes").lastChild.remove();
  if (changes.length) seen = changes.at(-1).seq;
  $("no-changes").hidden = $("changes").children.length > 0;
}

function drawAll() {
  drawNumbers();
  drawSpark();
  drawSegments();
  drawCounts();
}

function connected(error) {
  $("link").className = `pill ${error ? "off" : "on"}`;
  $("link-text").textContent = t(error ? "offline" : "online");
  $("problem").hidden = !error || error.status === 401 || !error.next;
  if (error?.next) $("problem").textContent = `${error.message} ${error.next}`;
  $("key-form").hidden = error?.status !== 401;
}

async function tick() {
  clearTimeout(next);
  try {
    status = await ask("/v1/status");
    rates.push(status.lines_per_second);
    if (rates.length > SAMPLES) rates.shift();
    await drawChanges();
    drawAll();
    drawSimulator(await ask("/v1/simulator"));
    connected(null);
  } catch (error) {
    if (error.status === 401) forgetKey();
    connected(error);
  }
  clearTimeout(next);
  if (!document.hidden) next = setTimeout(tick, PERIOD);
}

function remember(name, value) {
  try {
    localStorage.setItem(`dangol.${name}`, value);
  } catch {
    // not remembered then
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(`dangol.${name}`);
  } catch {
    return null;
  }
}

$("lang").addEventListener("click", () => {
  setLang(lang === "ko" ? "en" : "ko");
  remember("lang", lang);
  translate();
  if (!status) return;
  drawAll();
  const rows = [...$("changes").children].map((row) => changeRow(JSON.parse(row.dataset.change)));
  $("changes").replaceChildren(...rows);
});

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
});

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey($("key").value);
  $("key").value = "";
  $("key-form").hidden = true;
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});

const asked = new URLSearchParams(location.search).get("lang");
setLang(asked ?? remembered("lang") ?? "ko");
translate();
$("curl").textContent = $("curl").textContent.replace("/v1/events", `${location.origin}/v1/events`);
startSimulatorPanel();
tick();
