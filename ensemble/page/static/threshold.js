// Shows the part "threshold": a line over the score histogram, and what a report above it would hold.
import { fail, get, post, say } from "./api.js";
import { element, shape } from "./elements.js";
import { counted, whole } from "./words.js";

const HEIGHT = 240, BASE = 212, TOP = 16;
const LEAST_WIDTH = 240;
const POLL_MS = 1500, REST_MS = 200;
let state = null; // what the server said of the section that is shown
let value = NaN; // where the line is
let at = 0; // its place on the axis, from 0 to 1
let timers = {};
let wide = 640; // width of the picture in pixels
let shownNames = []; // machine and section that are shown

export const keys = [["← →", "move the line, on the slider"], ["Enter", "use the number that was typed"]];

export async function show(section, params) {
  const ui = parts(section);
  if (!section.dataset.ready) {
    listen(section, ui);
    section.dataset.ready = "1";
  }
  const wanted = [params.get("machine"), params.get("section")];
  for (const option of ui.pick.options) {
    const names = JSON.parse(option.dataset.names);
    if (names[0] === wanted[0] && names[1] === wanted[1]) ui.pick.value = option.value;
  }
  await load(section, ui);
}

function parts(section) {
  const role = (name) => section.querySelector(`[data-role=${name}]`);
  const ui = { pick: section.querySelector("#threshold-section"), number: section.querySelector("#threshold-value") };
  for (const name of ["plot", "slider", "legend", "stretched", "ratio", "refusal", "reported", "week", "normal", "generated", "save", "back", "reset", "domains", "kinds"]) {
    ui[name] = role(name);
  }
  return ui;
}

function listen(section, ui) {
  ui.pick.addEventListener("change", () => {
    const [machine, name] = names(ui);
    history.replaceState(null, "", `#threshold?${new URLSearchParams({ machine, section: name })}`);
    load(section, ui).catch(fail);
  });
  ui.slider.addEventListener("input", () => move(ui, state.values[Number(ui.slider.value)]));
  ui.number.addEventListener("input", () => {
    const score = ui.number.valueAsNumber;
    const words = refusal(score);
    refuse(ui, words);
    if (!words) move(ui, score, false);
  });
  const drag = (event) => {
    if (!state || (event.type === "pointermove" && !event.buttons)) return;
    const box = ui.plot.querySelector("svg").getBoundingClientRect();
    ui.slider.value = nearest(state.at, (event.clientX - box.left) / box.width);
    move(ui, state.values[Number(ui.slider.value)]);
  };
  ui.plot.addEventListener("pointerdown", (event) => {
    ui.plot.setPointerCapture(event.pointerId);
    drag(event);
    ui.slider.focus({ preventScroll: true });
  });
  ui.plot.addEventListener("pointermove", drag);
  new ResizeObserver(() => {
    if (state && ui.plot.clientWidth && Math.abs(ui.plot.clientWidth - wide) > 1) {
      draw(ui);
      place(ui);
    }
  }).observe(ui.plot);
  ui.reset.addEventListener("click", () => move(ui, start()));
  addEventListener("hashchange", () => {
    if (!/^#threshold(\?|$)/.test(location.hash)) leave();
  });
  ui.save.addEventListener("click", () => save(section, ui, value).catch(fail));
  ui.back.addEventListener("click", () => save(section, ui, null).catch(fail));
}

function names(ui) {
  return JSON.parse(ui.pick.selectedOptions[0].dataset.names);
}

function address(path, ui, more = {}) {
  const [machine, section] = names(ui);
  return `${path}?${new URLSearchParams({ machine, section, ...more })}`;
}

// Load the section; keep: leave the line where it is.
async function load(section, ui, keep = false) {
  clearTimeout(timers.poll);
  if (!ui.pick.options.length) return;
  if (!keep) leave();
  const wanted = ui.pick.value;
  const answer = await get(address("/threshold/scores", ui));
  if (ui.pick.value !== wanted) return; // another section was chosen meanwhile
  state = answer;
  shownNames = names(ui);
  if (state.bounded) Object.assign(ui.number, { min: 0, max: 1 });
  ui.slider.max = state.values.length - 1;
  ui.stretched.textContent = state.bounded ? " The axis is stretched towards 1, where the thresholds are." : "";
  ui.back.hidden = state.saved === undefined || state.saved === null;
  ui.domains.textContent = domains();
  draw(ui);
  const typed = ui.number.valueAsNumber; // a number that is typed while the page asks again stays as it is
  move(ui, keep ? value : start(), !keep);
  if (keep) refuse(ui, refusal(typed));
  if (state.generated.state === "computing") {
    timers.poll = setTimeout(() => {
      if (!section.hidden) load(section, ui, true).catch(fail);
    }, POLL_MS);
  }
}

// Where the line starts: the present threshold, else the highest one.
function start() {
  return state.lines.length ? state.lines[0].value : state.values.at(-1);
}

// Whether the line is elsewhere than where it started; where domains have several thresholds, saving one is a change.
const isMoved = () => Boolean(state) && value !== start();
const isChange = () => isMoved() || state.lines.length > 1;

// Tell of a line that was moved and not saved, once: it starts at the present threshold when it is shown again.
function leave() {
  if (!isMoved()) return;
  say(`The line at ${short(value)} for ${shownNames.join(" / ")} was not saved.`);
  value = start();
}

// Why a number cannot be a threshold; "" where it can.
function refusal(score) {
  if (!Number.isFinite(score)) return "Enter a number.";
  if (state?.bounded && !(score > 0 && score < 1)) return "Enter a number above 0 and below 1, as the scores are.";
  return "";
}

function refuse(ui, words) {
  if (ui.refusal.textContent !== words) ui.refusal.textContent = words;
  ui.number.setAttribute("aria-invalid", String(words !== ""));
  ui.save.disabled = words !== "" || !isChange();
  ui.reset.disabled = words === "" && !isMoved();
}

function domains() {
  const saved = state.saved !== undefined && state.saved !== null;
  if (saved) return `The threshold ${short(state.saved)} was saved for this section. "Back" takes it away again.`;
  if (state.lines.length > 1) {
    const each = state.lines.map((line) => `${line.domain} clips ${short(line.value)}`).join(", ");
    return `Each domain has its own threshold now: ${each}. A saved threshold replaces both: it holds for all clips of the section.`;
  }
  return state.lines.length ? "" : "No clip of this section can be reported with the run's own thresholds.";
}

function nearest(places, at) {
  let best = 0;
  for (let i = 1; i < places.length; i += 1) {
    if (Math.abs(places[i] - at) < Math.abs(places[best] - at)) best = i;
  }
  return best;
}

// Put the line at a score. A step of the slider is known here; the server is asked for other scores.
function move(ui, score, write = true) {
  value = score;
  if (write) ui.number.value = short(score);
  refuse(ui, "");
  const step = state.values.indexOf(score);
  clearTimeout(timers.rest);
  if (step >= 0) {
    ui.slider.value = step;
    tell(ui, {
      value: score,
      at: state.at[step],
      counts: state.counts[step],
      rates: state.rates[step],
      times: state.times[step],
      found: state.found ? state.found[step] : null,
    });
  }
  const ask = () => settle(ui, score).catch(fail);
  if (step < 0) ask();
  else timers.rest = setTimeout(ask, REST_MS);
}

// What only the server knows: counts at a score between two steps, and the kinds of generated anomalies.
async function settle(ui, score) {
  const wanted = ui.pick.value;
  const answer = await get(address("/threshold/at", ui, { value: score }));
  if (score !== value || ui.pick.value !== wanted) return;
  if (state.values.indexOf(score) < 0) {
    ui.slider.value = nearest(state.at, answer.at);
    tell(ui, answer);
  }
  kinds(ui, answer.kinds);
}

function tell(ui, here) {
  at = here.at;
  place(ui);
  const [clips, events, weekClips, weekEvents] = here.counts;
  const now = state.present;
  ui.reported.textContent = `would report ${reported(clips, events)} of ${counted(state.clips, "clip")}; now ${whole(now[1] === now[0] ? now[0] : now[1])}`;
  ui.week.textContent = week(weekClips, weekEvents);
  ui.normal.textContent = here.rates.length
    ? here.rates.map((rate, i) => normal(rate, state.references[i])).join("; ")
    : "unknown: there are no reference scores";
  ui.generated.textContent = generated(here.found);
  ui.ratio.textContent = ratio(here);
  ui.save.textContent = `Save ${short(value)} for ${names(ui).join(" / ")}`;
  ui.slider.setAttribute("aria-valuetext", `${short(value)}, reports ${reported(clips, events)}`);
}

// Move the line of the picture to where the threshold is.
function place(ui) {
  const line = ui.plot.querySelector(".line");
  if (line) line.setAttribute("transform", `translate(${(Math.min(1, Math.max(0, at)) * wide).toFixed(1)} 0)`);
}

function reported(clips, events) {
  return clips === events ? whole(clips) : `${counted(events, "event")}, ${counted(clips, "clip")},`;
}

function week(clips, events) {
  if (!state.week) return "unknown: the recordings have no times";
  const untimed = state.week.untimed ? `; ${counted(state.week.untimed, "clip")} without a time` : "";
  const now = state.present[3];
  const source = state.week.source === "file" ? ", by the times of the files" : "";
  return `${reported(clips, events)} of ${counted(state.week.clips, "clip")} in the 7 days up to ${state.week.newest}${source}; now ${whole(now)}${untimed}`;
}

function normal([expected, low, high], reference) {
  const whose = reference.domain ? `${reference.domain}: ` : "";
  const worth = reference.worth < reference.clips ? `, counted as ${whole(reference.worth)}` : "";
  return `${whose}${percent(expected)} % (between ${percent(low)} and ${percent(high)} %), from ${counted(reference.clips, "training clip")}${worth}`;
}

function generated(found) {
  const { state: name, reason, clips } = state.generated;
  if (name === "computing") return "computing …";
  if (name === "none") return `unknown: ${reason}`;
  if (!clips) return "unknown: this section has no generated anomalies";
  return `${whole(found)} of ${whole(clips)} (${percent(found / clips)} %)`;
}

function ratio(here) {
  const texts = state.lines.map((line, i) => {
    const which = state.lines.length > 1 ? `present ${line.domain} threshold` : "present threshold";
    return here.value === line.value ? `the ${which}` : `${here.times[i]} the ${which} (${short(line.value)})`;
  });
  return texts.length ? `This is ${texts.join(", ")}.` : "";
}

function kinds(ui, rows) {
  ui.kinds.replaceChildren();
  if (!rows.length) {
    ui.kinds.textContent = "None to show.";
    return;
  }
  const items = rows.map(([kind, found, of]) =>
    element("li", {}, `${kind}: ${whole(found)} of ${whole(of)} `, element("meter", { max: of, value: found, "aria-hidden": "true" })),
  );
  ui.kinds.append(element("ul", {}, ...items));
}

async function save(section, ui, score) {
  const [machine, name] = names(ui);
  ui.save.disabled = true;
  try {
    const answer = await post("/threshold", { machine, section: name, value: score });
    const what = score === null ? "The run's own threshold is back" : `Saved ${short(score)}`;
    say(`${what} for ${machine} / ${name}: ${counted(answer.reported, "clip")} of all sections reported now.`);
    fail("");
    document.dispatchEvent(new CustomEvent("decided"));
    value = start();
    await load(section, ui);
  } finally {
    ui.save.disabled = ui.refusal.textContent !== "" || !isChange();
  }
}

// --- the picture -----------------------------------------------------------------------------------------------------

function draw(ui) {
  wide = Math.max(LEAST_WIDTH, ui.plot.clientWidth);
  const groups = [["reference", state.bars.reference], ["unknown", state.bars.scored]];
  if (state.bars.generated) groups.push(["anomaly", state.bars.generated]);
  const highest = Math.max(...groups.flatMap(([, bars]) => bars)) || 1;
  const svg = shape("svg", { viewBox: `0 0 ${wide} ${HEIGHT}`, role: "img" });
  svg.setAttribute("aria-label", `Score histogram of ${names(ui).join(", section ")}; the numbers beside it say what it shows`);
  for (const [style, bars] of groups) svg.append(shape("path", { d: outline(bars, highest), class: `bars ${style}` }));
  svg.append(shape("path", { d: `M0 ${BASE}H${wide}`, class: "frame" }));
  for (const [score, at] of state.ticks) {
    if (at < 0.01 || at > 0.99) continue;
    svg.append(text(String(Number(score.toPrecision(4))), at * wide, BASE + 16, "tick middle"));
  }
  for (const line of state.lines) {
    const x = line.at * wide;
    svg.append(shape("path", { d: `M${x} ${TOP}V${BASE}`, class: "present" }));
    svg.append(text(line.domain || "now", x, TOP - 3, "tick middle"));
  }
  const line = shape("g", { class: "line" });
  line.append(shape("path", { d: `M0 ${TOP}V${BASE}`, class: "threshold" }), shape("circle", { cx: 0, cy: BASE, r: 7, class: "grip" }));
  svg.append(line);
  ui.plot.replaceChildren(svg);
  legend(ui);
}

function legend(ui) {
  const entries = [["reference", "training clips (each scored without itself)"], ["unknown", "scored clips"]];
  if (state.bars.generated) entries.push(["anomaly", "generated anomalies (each scored without its original)"]);
  if (state.lines.length) entries.push(["all", "present threshold"]);
  entries.push(["threshold", "your line"]);
  ui.legend.replaceChildren(
    ...entries.map(([style, words]) => element("li", { class: style }, words)),
  );
}

function outline(bars, highest) {
  const step = wide / bars.length;
  let path = "";
  let open = false;
  bars.forEach((share, i) => {
    const y = (BASE - (share / highest) * (BASE - TOP - 4)).toFixed(1);
    const x = (i * step).toFixed(1);
    if (share > 0) {
      path += `${open ? "" : `M${x} ${BASE}`}L${x} ${y}H${((i + 1) * step).toFixed(1)}`;
      open = true;
    }
    if (open && !(bars[i + 1] > 0)) {
      path += `V${BASE}`;
      open = false;
    }
  });
  return path || `M0 ${BASE}`;
}

function text(words, x, y, style) {
  return shape("text", { x, y, class: style }, words);
}

function short(score) {
  return String(Number(Number(score).toPrecision(6)));
}

function percent(share) {
  return (100 * share).toFixed(share < 0.1 ? 1 : 0);
}
