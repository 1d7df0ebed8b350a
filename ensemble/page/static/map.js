// The part "map": the clips of the store as points, near each other where their embeddings are similar.
import { fail, get, say } from "./api.js";
import { element, explainMissing } from "./elements.js";
import { classes, dark } from "./mapcolours.js";
import { facts, name, showClip, showList } from "./maplist.js";
import { Plot } from "./mapplot.js";
import { counted, whole } from "./words.js";

export const keys = [
  ["← → ↑ ↓", "on the map: move it"],
  ["+ -", "on the map: zoom in or out"],
  ["0", "on the map: show all points"],
  ["Enter", "on the map: list the points in view"],
  ["Escape", "on the map: leave the lasso"],
];

const POLL_MS = 1500;
const state = { plot: null, data: null, address: "", hidden: new Set(), colour: "", points: [], asked: 0 };
const part = (id) => document.getElementById(`map-${id}`);

// Called each time the part is shown: the marks and decisions may have changed meanwhile.
export async function show() {
  if (!state.plot) wire();
  await load();
}

function wire() {
  const wrap = part("wrap");
  state.plot = new Plot(wrap, part("canvas"), { hover, pick, chosen, moved });
  part("form").addEventListener("submit", (event) => event.preventDefault());
  part("form").addEventListener("change", (event) => {
    fail("");
    if (event.target.id === "map-colour") paint();
    else load().catch(fail);
  });
  dark.addEventListener("change", paint);
  part("in").addEventListener("click", () => state.plot.zoom(1.35));
  part("out").addEventListener("click", () => state.plot.zoom(1 / 1.35));
  part("all").addEventListener("click", () => state.plot.all());
  part("lasso").addEventListener("click", () => lasso(!state.plot.lassoing));
  part("view-list").addEventListener("click", () => {
    part("list").dataset.keyboard = "1";
    chosen(state.plot.inView());
  });
  wrap.addEventListener("keydown", (event) => {
    if (event.key === "Escape") lasso(false);
    part("list").dataset.keyboard = "1";
  });
  wrap.addEventListener("pointerdown", () => delete part("list").dataset.keyboard);
  explainMissing(part("clip"));
}

function lasso(on) {
  state.plot.lassoing = on;
  part("lasso").setAttribute("aria-pressed", String(on));
  part("wrap").classList.toggle("lassoing", on);
}

async function load() {
  const query = new URLSearchParams({ view: part("view").value, method: part("method").value, generated: part("generated").checked ? "1" : "0" });
  const address = `/map/points?${query}`;
  state.asked += 1;
  const mine = state.asked;
  if (address !== state.address) part("state").textContent = "Computing the map ...";
  const data = await get(address).catch((error) => {
    part("state").textContent = "";
    throw error;
  });
  if (mine !== state.asked) return; // another map was asked for meanwhile
  if ("computing" in data) {
    part("state").textContent = `UMAP is being computed, ${data.computing} s so far. A minute or more is usual; all other parts work meanwhile.`;
    setTimeout(() => mine === state.asked && !part("form").closest("section.part").hidden && load().catch(fail), POLL_MS);
    return;
  }
  const same = address === state.address;
  state.data = data;
  state.address = address;
  if (!same) clear();
  place(same);
  describe();
}

function place(same) {
  const { data, plot } = state;
  const flags = (property, wanted) => Uint8Array.from(data.classes[property].of, (i) => (wanted(data.classes[property].names[i]) ? 1 : 0));
  const { chosen: before, current } = plot;
  plot.set({
    x: data.x,
    y: data.y,
    shape: flags("decision", (text) => text === "reported"),
    ring: flags("verdict", (text) => text !== "none"),
    faint: flags("role", (text) => text === "generated"),
  });
  if (same && before.length === plot.n) Object.assign(plot, { chosen: before, current });
  else plot.all();
  paint();
}

function describe() {
  const { data } = state;
  const some = data.shown < data.total;
  let text = some ? `${whole(data.shown)} of ${counted(data.total, "clip")} shown: a share of every machine, section and domain, and every reported and marked clip.` : `${counted(data.total, "clip")} shown.`;
  if (data.missing) text += ` ${whole(data.missing)} reported or marked clips are not among them.`;
  part("state").textContent = text;
  const share = (value) => `${(100 * value).toFixed(0)} %`;
  part("explained").textContent = data.explained
    ? `Across: ${share(data.explained[0])} of the variance. Up: ${share(data.explained[1])}. The other ${share(Math.max(0, 1 - data.explained[0] - data.explained[1]))} cannot be seen here. The decisions use distances in all dimensions, so two points that touch here can be far apart.`
    : "UMAP keeps neighbours together where it can. The axes, the sizes of groups and the distances between them have no meaning, and the decisions use distances in all dimensions.";
}

function paint() {
  const { data, plot } = state;
  if (!data) return;
  const colour = part("colour").value;
  if (colour !== state.colour) state.hidden = new Set();
  state.colour = colour;
  const { names, colours, of, count } = classes(data, colour);
  if (state.names && state.names.join("\n") !== names.join("\n")) state.hidden = new Set();
  state.names = names;
  plot.paint({ of, colours, hidden: state.hidden });
  const items = names.map((title, i) =>
    count[i] ? element("li", {}, legendButton(title, i, colours[i], count[i])) : "",
  );
  part("legend").replaceChildren(...items.filter(Boolean));
  part("pale").hidden = !part("generated").checked;
  const property = part("colour").selectedOptions[0].textContent.trim();
  part("canvas").setAttribute("aria-label", `${data.shown} clips as points, coloured by ${property}: ${names.map((title, i) => `${title} ${count[i]}`).join(", ")}. The button List points in view gives them as a list.`);
}

function legendButton(title, i, colour, count) {
  const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = colour;
  const toggle = (event) => {
    if (!state.hidden.delete(i)) state.hidden.add(i);
    event.currentTarget.setAttribute("aria-pressed", String(!state.hidden.has(i)));
    state.plot.redraw();
  };
  return element("button", { type: "button", "aria-pressed": String(!state.hidden.has(i)), title: "Click to hide or show", onclick: toggle }, swatch, `${title} `, element("span", { class: "muted" }, whole(count)));
}

function hover(i, x, y) {
  const tip = part("tip");
  part("canvas").style.cursor = state.plot.lassoing ? "crosshair" : i >= 0 ? "pointer" : "";
  tip.hidden = i === undefined || i < 0;
  if (tip.hidden) return;
  tip.replaceChildren(element("b", {}, name(state.data, i).split("/").pop()), element("span", {}, facts(state.data, i)));
  const right = x > state.plot.width / 2;
  tip.style.left = right ? "" : `${x + 14}px`;
  tip.style.right = right ? `${state.plot.width - x + 14}px` : "";
  tip.style.top = `${Math.max(4, y - 10)}px`;
}

function pick(i) {
  if (i < 0) return;
  state.plot.current = i;
  state.plot.redraw();
  showClip(part("clip"), state.data, i);
}

function chosen(points, again = false) {
  lasso(false);
  state.points = points;
  state.plot.chosen.fill(0);
  for (const i of points) state.plot.chosen[i] = 1;
  state.plot.redraw();
  if (!points.length) say("No points there.");
  // the furthest above their thresholds first
  const { excess } = state.data;
  const sorted = [...points].sort((a, b) => (excess[b] ?? -1) - (excess[a] ?? -1));
  showList(part("list"), state.data, sorted, { listen: pick, done: () => load().then(() => chosen(state.points, true)), clear, again });
}

function clear() {
  state.points = [];
  state.plot.chosen.fill(0);
  state.plot.redraw();
  part("list").hidden = true;
  part("list").replaceChildren();
}

function moved() {
  part("tip").hidden = true;
}
