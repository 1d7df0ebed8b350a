// Shows the part "verdicts": marked clips and their history, export and import.
import { fail, html, postMark, say, send } from "./api.js";
import { element } from "./elements.js";

const MOST_MIB = 16; // of a file to import, as the server takes it
let at = { offset: 0, from: 0 };

export async function show(section, params) {
  const form = section.querySelector("[data-role=filters]");
  if (!section.dataset.ready) {
    listen(section, form);
    section.dataset.ready = "1";
  }
  await load(section, form, Object.fromEntries(params));
}

function listen(section, form) {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    at = { offset: 0, from: 0 };
    load(section, form).catch(fail);
  });
  section.querySelector("[data-role=lists]").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.offset) at.offset = Number(button.dataset.offset);
    if (button.dataset.from) at.from = Number(button.dataset.from);
    if (button.dataset.clip) takeBack(section, form, JSON.parse(button.dataset.clip)).catch(fail);
    else load(section, form).catch(fail);
  });
  section.querySelector("[data-role=import]").addEventListener("submit", (event) => {
    event.preventDefault();
    read(section, form, event.target).catch(fail);
  });
}

async function load(section, form, wanted = {}) {
  const lists = section.querySelector("[data-role=lists]");
  const query = new URLSearchParams({ ...Object.fromEntries(new FormData(form)), ...wanted, ...at });
  const open = lists.querySelector("details")?.open;
  lists.innerHTML = await html(`/verdicts/list?${query}`);
  if (open) lists.querySelector("details")?.setAttribute("open", "");
  const names = lists.querySelector("[data-role=names]").dataset;
  choices(form.elements.machine, JSON.parse(names.machines), wanted.machine);
  choices(form.elements.who, JSON.parse(names.persons), wanted.who);
  if (wanted.mark) form.elements.mark.value = wanted.mark;
}

// The names to filter by; the chosen one stays chosen.
function choices(select, names, wanted) {
  const chosen = wanted ?? select.value;
  select.replaceChildren(
    new Option("all", ""),
    ...names.filter((name) => name).map((name) => new Option(name, name, false, name === chosen)),
  );
}

async function takeBack(section, form, clip) {
  await postMark({ clip }, "none");
  say(`The mark of ${clip} no longer counts.`);
  await load(section, form);
}

// Send the chosen files one after the other; each says what became of it.
async function read(section, form, upload) {
  const results = section.querySelector("[data-role=results]");
  const button = upload.querySelector("button");
  const clip = upload.elements.clip.value.trim();
  results.replaceChildren();
  button.disabled = true;
  try {
    for (const file of upload.elements.files.files) {
      const item = element("li", {}, `${file.name}: …`);
      results.append(item);
      try {
        const query = new URLSearchParams({ name: file.name, clip });
        const answer = JSON.parse(await send(`/verdicts/import?${query}`, file, MOST_MIB));
        item.textContent = `${file.name}: ${answer.text}.`;
      } catch (error) {
        item.className = "failed";
        item.textContent = `${file.name}: ${error.message}`;
      }
    }
  } finally {
    button.disabled = false;
  }
  upload.elements.files.value = "";
  await load(section, form);
}
