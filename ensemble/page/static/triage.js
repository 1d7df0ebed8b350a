// Triage: a list of items, one of them to listen to and decide on, everything by buttons and by keys.
import { fail, html, post, postMark, say } from "./api.js";
import { element, explainMissing, keyRows } from "./elements.js";
import { address, asked, joined } from "./filters.js";
import { keep, kept, Listening } from "./listening.js";
import { Note } from "./note.js";
import { enlarge, fillDeviation } from "./pictures.js";
import { whole } from "./words.js";

export const keys = [
  ["n or j", "next item"],
  ["p or k", "previous item"],
  ["space", "play or pause"],
  ["a or x", "compare: switch between the clip and its nearest normal clip"],
  ["l", "loop the event"],
  ["← →", "one second back or forward"],
  ["1 to 4", "enlarge or reduce a picture"],
  ["f", "mark as fault"],
  ["o", "mark as normal"],
  ["i", "mark as ignore"],
  ["u", "undo the last mark"],
  ["Enter", "in the note: save it"],
  ["/", "go to the filters"],
  ["Escape", "leave a field or an enlarged picture"],
];

const PAGE = 50;
const part = { section: null, filters: null, row: null, listening: null, note: null, left: 0, noun: "", marked: [], busy: false, next: null, stale: true };
const at = (name) => part.section.querySelector(`[data-place=${name}]`);
const entries = () => [...at("items").querySelectorAll("a[data-row]")];
const entry = (row) => at("items").querySelector(`a[data-row="${row}"]`);
const isNarrow = () => matchMedia("(max-width: 56rem)").matches;

export async function show(section) {
  if (part.section !== section) begin(section);
  const { row, filters } = asked();
  const stale = part.stale;
  if (filters !== part.filters || stale) {
    fillForm(filters);
    await list(filters, PAGE);
  }
  const first = isNarrow() ? null : entries()[0]?.dataset.row;
  const wanted = row ?? first ?? null;
  if (!row && wanted) history.replaceState(null, "", address(filters, wanted));
  if (wanted) await open(wanted, stale);
  else leave();
}

function begin(section) {
  part.section = section;
  const legend = element("details", { class: "keys" });
  legend.innerHTML = "<summary>Keys: <kbd>n</kbd> next <kbd>p</kbd> previous <kbd>space</kbd> play <kbd>/</kbd> filters, and all others</summary>";
  legend.append(element("dl", {}, ...keyRows(keys)));
  section.querySelector(".triage-list").append(legend);
  section.querySelector(".filters").open = !isNarrow();
  const form = section.querySelector("form");
  form.addEventListener("change", () => filter(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    location.hash = "#triage";
  });
  section.addEventListener("click", (event) => press(event.target.closest("button")));
  section.addEventListener("change", ({ target }) => {
    if (target.matches("select, input[type=checkbox]")) at("item").focus({ preventScroll: true }); // so that keys act again
  });
  section.addEventListener("focusout", ({ target, relatedTarget }) => {
    if (target.matches("input[name=note]") && !relatedTarget?.matches("button[data-mark]")) saveNote();
  });
  explainMissing(section);
  section.addEventListener("silent", (event) => fail(event.detail));
  document.addEventListener("keydown", key);
  addEventListener("hashchange", () => {
    const here = location.hash.split("?")[0] === "#triage";
    if (!here) {
      part.listening?.stop();
      part.stale = true;
    }
  });
}

function filter(form) {
  const values = new Map([...new FormData(form)].map(([name, value]) => [name, value]));
  location.hash = address(joined(values), null);
}

function fillForm(filters) {
  const values = new Map(filters.split("&").map((pair) => pair.split("=", 2)));
  for (const field of part.section.querySelector("form").elements) {
    if (!field.name) continue;
    const value = values.get(field.name) ?? "";
    field.value = value;
    if (field.value !== value) field.value = decodeURIComponent(value);
  }
}

async function list(filters, limit) {
  part.filters = filters;
  part.stale = false;
  try {
    at("items").innerHTML = await html(`/items?${[filters, `limit=${limit}`].filter(Boolean).join("&")}`);
  } catch (error) {
    at("items").replaceChildren();
    at("left").textContent = "";
    part.filters = null;
    throw error;
  }
  const counts = at("items").querySelector("[data-left]").dataset;
  count(Number(counts.left), counts.noun);
}

function count(left, noun) {
  Object.assign(part, { left, noun });
  at("left").textContent = left ? `${whole(left)} of ${noun} not yet marked` : `All of ${noun} marked`;
  if (noun.startsWith("0 ")) at("left").textContent = noun;
}

async function more() {
  const button = at("items").querySelector("button[data-more]");
  if (!button) return false;
  const offset = button.dataset.more;
  const added = element("div");
  added.innerHTML = await html(`/items?${[part.filters, `offset=${offset}`, `limit=${PAGE}`].filter(Boolean).join("&")}`);
  button.remove();
  at("items").querySelector("ol").append(...added.querySelectorAll("li"));
  const next = added.querySelector("button[data-more]");
  if (next) at("items").append(next);
  return true;
}

function leave() {
  saveNote();
  part.listening?.stop();
  part.row = part.listening = part.note = null;
  at("item").replaceChildren();
  at("item").removeAttribute("aria-busy");
  for (const link of entries()) link.removeAttribute("aria-current");
}

async function open(row, again = false) {
  for (const link of entries()) link.removeAttribute("aria-current");
  entry(row)?.setAttribute("aria-current", "true");
  entry(row)?.scrollIntoView({ block: "nearest" });
  if (row === part.row && !again) return;
  saveNote();
  part.listening?.stop();
  part.note = null;
  part.row = row;
  at("item").setAttribute("aria-busy", "true");
  let text = "";
  try {
    text = await html(`/items/${row}`);
  } catch (error) {
    if (row === part.row) leave();
    throw error;
  }
  if (row !== part.row) return; // another one was chosen meanwhile
  at("item").innerHTML = text;
  at("item").removeAttribute("aria-busy");
  part.listening = new Listening(at("item"));
  part.note = new Note(at("item"), row);
  const advance = at("item").querySelector("input[name=advance]");
  advance.checked = kept.advance;
  advance.addEventListener("change", () => {
    kept.advance = advance.checked;
    keep();
  });
  if (isNarrow()) at("item").scrollIntoView({ block: "start" });
  deviation(row);
}

// The statistics of a large store take a while: the map follows when they are there.
async function deviation(row) {
  for (let wait = 500; ; wait = Math.min(5000, wait * 1.5)) {
    let text = "";
    try {
      text = await html(`/items/${row}/deviation`);
    } catch (error) {
      text = "";
      if (row === part.row && at("deviation")) at("deviation").textContent = error.message;
      return;
    }
    const place = row === part.row && !part.section.hidden ? at("deviation") : null;
    if (!place) return;
    if (text) {
      fillDeviation(at("item"), place, text);
      part.listening?.show();
      return;
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function step(by) {
  const all = entries();
  const here = all.findIndex((link) => link.dataset.row === part.row);
  const next = all[here < 0 ? 0 : here + by];
  if (next) return go(next);
  if (by > 0 && (await more())) return step(by);
  say(by > 0 ? "This is the last item of the list." : "This is the first item of the list.");
}

async function go(link) {
  history.pushState(null, "", address(part.filters, link.dataset.row));
  link.focus({ preventScroll: true });
  await open(link.dataset.row);
}

async function goUnmarked() {
  for (;;) {
    const all = entries();
    const here = all.findIndex((link) => link.dataset.row === part.row);
    const next = all.slice(here + 1).find((link) => !link.dataset.mark);
    if (next) return go(next);
    if (await more()) continue;
    const before = all.find((link) => !link.dataset.mark);
    return before ? go(before) : open(part.row, true);
  }
}

function label(row, word) {
  const link = entry(row);
  if (!link) return;
  link.dataset.mark = word;
  link.querySelector(".verdict").textContent = word;
}

// Save the text of the note with the mark of the item.
function saveNote() {
  const note = part.note?.keep();
  if (!note) return;
  once(async () => {
    if (part.note?.row === note.row && part.note.saved === note.text) return; // saved meanwhile
    const answer = await send(note.row, note.word, note.text);
    say(`Note of ${nameOf(note.row, answer)} saved.`);
    if (note.row === part.row) await renew(note.row);
  }, true);
}

async function send(row, word, text) {
  const answer = await postMark({ row: Number(row) }, word, text);
  if (answer.written) part.marked[answer.undo - 1] = row;
  part.note?.sent(row, text);
  return answer;
}

const nameOf = (row, answer) => entry(row)?.querySelector(".what").textContent.trim() ?? answer.mark.clip.split("/").at(-1);

async function mark(word) {
  const row = part.row;
  if (row === null || !part.note) return;
  const answer = await send(row, word, part.note.text);
  const fresh = !entry(row)?.dataset.mark;
  label(row, word);
  if (fresh && entry(row)) count(part.left - 1, part.noun);
  say(`${nameOf(row, answer)}: marked as ${word}. ${at("left").textContent}.`);
  if (row !== part.row) return;
  if (at("item").querySelector("input[name=advance]").checked) await goUnmarked();
  else await renew(row);
}

// The words and the history of the item, without touching what is played.
async function renew(row) {
  const fresh = element("div");
  fresh.innerHTML = await html(`/items/${row}`);
  if (row !== part.row) return;
  const sentence = at("sentence");
  for (const place of [".item-head", ".history"]) at("item").querySelector(place).replaceWith(fresh.querySelector(place));
  at("sentence").replaceWith(sentence);
  for (const button of at("item").querySelectorAll(".decide [data-mark]")) {
    const now = fresh.querySelector(`.decide [data-mark=${button.dataset.mark}]`);
    button.setAttribute("aria-pressed", now.getAttribute("aria-pressed"));
  }
  part.note?.renew(fresh.querySelector("input[name=note]").value);
}

// What holds after an undo, in words. now: the different marks of its clips, "none" for no mark.
function held(now) {
  if (now.length > 1) return "has its earlier marks again";
  return now[0] === "none" ? "is not marked" : `is marked as ${now[0]} again`;
}

async function undo() {
  const answer = await post("/marks/undo", {});
  if (!answer.mark) {
    say("There is no mark of this session to undo.");
    return;
  }
  const row = part.marked[answer.undo] ?? null;
  part.marked.length = Math.min(part.marked.length, answer.undo);
  await list(part.filters, Math.max(PAGE, entries().length));
  const name = answer.mark.clip.split("/").at(-1);
  say(`Undone: ${name} ${held(answer.now)}. ${at("left").textContent}.`);
  if (row === null || row === part.row) {
    if (part.row !== null) {
      entry(part.row)?.setAttribute("aria-current", "true");
      await renew(part.row);
    }
    return;
  }
  history.pushState(null, "", address(part.filters, row));
  entry(row)?.focus({ preventScroll: true });
  await open(row, true);
}

// One change at a time: a second press does not mark twice, nor what is not on the screen yet. What may wait (a step, an
// undo) follows the change; of several the last one counts.
async function once(change, mayWait = false) {
  if (part.busy) {
    if (mayWait) part.next = change;
    return;
  }
  part.busy = true;
  fail("");
  for (let now = change; now; ) {
    part.next = null;
    try {
      await now();
    } catch (error) {
      fail(error);
    }
    now = part.next;
  }
  part.busy = false;
}

function press(button) {
  if (!button) return;
  if (button.dataset.mark) once(() => mark(button.dataset.mark));
  else if (button.dataset.do === "undo") once(undo, true);
  else if (button.dataset.more) once(more);
  else if (button.dataset.picture) enlarge(at("item"), button);
  else if (button.dataset.do) listen(button.dataset.do);
}

function listen(what) {
  if (!part.listening?.players.size) return;
  if (what === "play") part.listening.play();
  if (what === "switch") {
    if (part.listening.change()) say(part.listening.title);
  }
  if (what === "loop") say(part.listening.loop() ? "Loop on" : "Loop off");
}

const ACTIONS = {
  n: () => once(() => step(1), true), j: () => once(() => step(1), true),
  p: () => once(() => step(-1), true), k: () => once(() => step(-1), true),
  " ": () => listen("play"), a: () => listen("switch"), x: () => listen("switch"), l: () => listen("loop"),
  f: () => once(() => mark("fault")), o: () => once(() => mark("normal")), i: () => once(() => mark("ignore")),
  u: () => once(undo, true),
  ArrowLeft: () => part.listening?.seek(-1), ArrowRight: () => part.listening?.seek(1),
  "/": focusFilters, Escape: escape,
};

function focusFilters() {
  part.section.querySelector(".filters").open = true;
  part.section.querySelector(".filters select").focus();
}

function escape() {
  const field = document.activeElement;
  if (field?.matches("input, select, textarea")) {
    field.blur();
    (entry(part.row) ?? at("item")).focus({ preventScroll: true });
    return;
  }
  const large = at("item").querySelector(".large .enlarge");
  if (large) enlarge(at("item"), large);
  else entry(part.row)?.focus();
}

function key(event) {
  if (part.section.hidden || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const typing = target.matches("input:not([type=checkbox]), select, textarea, [contenteditable]");
  if (event.key === "Enter" && target.matches("input[name=note]")) {
    if (part.note?.text && !part.note.word) say("The note is kept. It is saved with the mark: f fault, o normal, i ignore.");
    at("item").focus({ preventScroll: true }); // leaving the field saves the note
    return;
  }
  if (typing && event.key !== "Escape") return;
  if (event.key === " " && target.matches("button, summary, input, audio")) return; // it presses them
  if (event.key.startsWith("Arrow") && target.matches("audio, [tabindex='0']")) return;
  const action = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const picture = /^[1-4]$/.test(event.key) ? at("item").querySelectorAll(".enlarge")[Number(event.key) - 1] : null;
  if (!action && !picture) return;
  if (event.repeat && !["n", "j", "p", "k", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
  event.preventDefault();
  if (picture) enlarge(at("item"), picture);
  else action();
}
