// The shell: shows the part that the address names (#triage?machine=fan), loads it when it is first shown, and lists the
// keys of the part. A part is a module with show(section, params), and optionally keys = [[key, what it does], ...].
import { fail, html, script } from "./api.js";
import { element, keyRows } from "./elements.js";

const OWN_KEYS = [["?", "show or hide this list"]];
const title = document.title;
const links = [...document.querySelectorAll("nav a")].filter((link) => link.closest("header"));
const names = links.map((link) => link.hash.slice(1));
const loads = new Map();
const dialog = document.getElementById("keys");
let shown = "";
let turn = 0;

// Only the latest call goes on: a part that is slow to load must not come up over one that was chosen after it.
async function show() {
  const [name, query] = location.hash.slice(1).split("?", 2);
  if (name === "main") return;
  const mine = ++turn;
  const next = names.includes(name) ? name : names[0];
  const isChange = shown !== "" && shown !== next;
  const section = choose(next);
  fail("");
  section.querySelector(":scope > .failed")?.remove();
  try {
    await load(next, section);
    if (mine !== turn) return;
    if (isChange) heading(section).focus();
    const part = await script(next);
    if (mine === turn) await part.show(section, new URLSearchParams(query ?? ""));
  } catch (error) {
    if (mine === turn) section.prepend(failed(error));
  }
}

// Show the section of a part and hide the others.
function choose(next) {
  shown = next;
  for (const [i, link] of links.entries()) {
    const isCurrent = names[i] === next;
    document.getElementById(`part-${names[i]}`).hidden = !isCurrent;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (isCurrent) document.title = `${link.textContent} · ${title}`;
  }
  return document.getElementById(`part-${next}`);
}

// Fill a section once; a load that failed is tried again the next time.
async function load(name, section) {
  if (!loads.has(name)) {
    section.setAttribute("aria-busy", "true");
    section.innerHTML = '<p class="loading">Loading …</p>';
    loads.set(name, html(`/parts/${name}`));
  }
  try {
    const text = await loads.get(name);
    if (!section.dataset.loaded) {
      section.innerHTML = text;
      section.dataset.loaded = "1";
    }
  } catch (error) {
    loads.delete(name);
    section.replaceChildren();
    throw error;
  } finally {
    section.removeAttribute("aria-busy");
  }
}

// The heading of a part, which takes the focus; one for screen readers where the part has none.
function heading(section) {
  let found = section.querySelector("h2");
  if (!found) {
    found = element("h2", { class: "visually-hidden" }, section.getAttribute("aria-label"));
    section.prepend(found);
  }
  if (!found.hasAttribute("tabindex")) found.tabIndex = -1;
  return found;
}

function failed(error) {
  const again = () => (error.isFinal ? location.reload() : show());
  return element(
    "div",
    { class: "failed warning", role: "alert" },
    element("p", {}, error.message ?? String(error)),
    element("button", { type: "button", onclick: again }, "Try again"),
  );
}

async function toggleKeys() {
  if (dialog.open) {
    dialog.close();
    return;
  }
  const { keys = [] } = await script(shown).catch(() => ({}));
  document.getElementById("keys-list").replaceChildren(...keyRows([...keys, ...OWN_KEYS]));
  dialog.showModal();
}

function typing(target) {
  return target.isContentEditable || target.matches("input:not([type=checkbox]), textarea, select");
}

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]:not(#keys)")) return;
  if (event.key !== "?" || event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
  event.preventDefault();
  toggleKeys();
});
document.getElementById("keys-open").addEventListener("click", toggleKeys);
document.getElementById("words-open").addEventListener("click", () => document.getElementById("words").showModal());
document.getElementById("alert-close").addEventListener("click", () => fail(""));
addEventListener("hashchange", show);
await show();
