// The simulator's panel: start, pause, stop, and another rate while it runs.
import { ask } from "./ask.js";
import { number, t } from "./words.js";

const $ = (id) => document.getElementById(id);
const RANGES = { rate: [1, 300000], speed: [1, 10000000] };
const values = { rate: 1000, speed: 86400 };
let state = null;
let files = "";

const mode = () => $("sim-mode").value;
const active = () => state?.state === "running" || state?.state === "paused";

function showValue() {
  const timed = mode() !== "max";
  $("sim-value-row").hidden = !timed;
  if (!timed) return;
  const [low, high] = RANGES[mode()];
  $("sim-value-name").textContent = t(`unit_${mode()}`);
  $("sim-value").value = values[mode()];
  $("sim-slider").value = (100 * Math.log(values[mode()] / low)) / Math.log(high / low);
}

function fromSlider() {
  const [low, high] = RANGES[mode()];
  const exact = low * (high / low) ** ($("sim-slider").value / 100);
  values[mode()] = Number(exact.toPrecision(2));
  $("sim-value").value = values[mode()];
}

function pace() {
  return mode() === "max" ? {} : { [mode()]: values[mode()] };
}

async function send(path, method, body) {
  try {
    drawSimulator(await ask(path, method, body));
  } catch (error) {
    $("sim-note").textContent = [error.message, error.next].filter(Boolean).join(" ");
  }
}

function adopt(next) {
  const name = next.rate !== null ? "rate" : next.speed !== null ? "speed" : "max";
  $("sim-mode").value = name;
  if (name !== "max") values[name] = next[name];
  showValue();
}

export function drawSimulator(next) {
  const first = state === null;
  state = next;
  if (first && active()) {
    adopt(next);
  }
  const names = next.files.join("\n");
  if (names !== files || $("sim-file").dataset.lang !== document.documentElement.lang) {
    const chosen = $("sim-file").value || next.file || next.files.find((name) => name !== "generated") || "generated";
    files = names;
    $("sim-file").dataset.lang = document.documentElement.lang;
    $("sim-file").replaceChildren(
      ...next.files.map((name) => new Option(name === "generated" ? t("generated") : name, name, false, name === chosen)),
    );
    $("sim-value-name").textContent = t(`unit_${mode() === "max" ? "rate" : mode()}`);
  }
  $("sim-state").className = `pill sim-${next.state}`;
  $("sim-state").lastElementChild.textContent = t(next.state);
  $("sim-start").hidden = active();
  $("sim-file").disabled = active();
  $("sim-mode").disabled = active() && next.rate === null && next.speed === null;
  for (const id of ["sim-pause", "sim-stop"]) $(id).hidden = !active();
  $("sim-apply").hidden = !active() || mode() === "max";
  $("sim-pause").textContent = t(next.state === "paused" ? "go_on" : "pause");
  if (next.error) $("sim-note").textContent = next.error;
  else if (next.state !== "idle")
    $("sim-note").textContent = t("sim_note", {
      sent: number(next.sent),
      done: number(next.acknowledged),
      rate: number(next.lines_per_second),
    });
}

export function startSimulatorPanel() {
  $("sim-mode").addEventListener("change", showValue);
  $("sim-slider").addEventListener("input", fromSlider);
  $("sim-value").addEventListener("change", () => {
    if ($("sim-value").valueAsNumber > 0) values[mode()] = $("sim-value").valueAsNumber;
    showValue();
  });
  $("sim-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!active()) send("/v1/simulator/start", "POST", { file: $("sim-file").value, ...pace() });
  });
  $("sim-apply").addEventListener("click", () => send("/v1/simulator", "PATCH", pace()));
  $("sim-pause").addEventListener("click", () =>
    send("/v1/simulator", "PATCH", { paused: state.state !== "paused" }),
  );
  $("sim-stop").addEventListener("click", () => send("/v1/simulator/stop", "POST"));
  showValue();
}
