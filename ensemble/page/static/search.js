// The part "search": the recordings most similar to a file, or to a clip that the address names (#search?clip=KEY).
import { fail, html, say, send } from "./api.js";
import { explainMissing } from "./elements.js";

export const keys = [["Enter", "in a field: search"]];

const part = (id) => document.getElementById(`search-${id}`);
const state = { wired: false, file: null, clip: "", asked: 0 };

export async function show() {
  if (!state.wired) wire();
  // the key as it stands in the address: it may have bytes that are not UTF-8
  const clip = /[?&]clip=([^&]*)/.exec(location.hash)?.[1] ?? "";
  if (clip && clip !== state.clip) {
    state.clip = clip;
    state.file = null;
    part("file").value = "";
    await run();
  }
}

function wire() {
  state.wired = true;
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  part("file").addEventListener("change", () => take(part("file").files[0]));
  const drop = part("drop");
  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", (event) => drop.contains(event.relatedTarget) || drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  explainMissing(part("found"));
}

function take(file) {
  if (!file) return;
  state.file = file;
  state.clip = "";
  run();
}

async function run() {
  fail("");
  if (!state.file && !state.clip) return fail("Choose a recording first, or follow a link \"More like this\".");
  if (!part("form").reportValidity()) return;
  // machine is quoted already: names may have bytes that are not UTF-8
  const query = `embedding=${encodeURIComponent(part("view").value)}&machine=${part("machine").value}&split=${part("split").value}&k=${part("k").value}`;
  state.asked += 1;
  const mine = state.asked;
  part("found").setAttribute("aria-busy", "true");
  say(state.file ? `Searching for recordings like ${state.file.name} ...` : "Searching ...");
  try {
    const found = state.file
      ? await send(`/search?${query}&name=${encodeURIComponent(state.file.name.toWellFormed?.() ?? state.file.name)}`, state.file)
      : await html(`/search/like?${query}&clip=${state.clip}`);
    if (mine !== state.asked) return;
    part("found").innerHTML = found;
    say("");
  } catch (error) {
    if (mine !== state.asked) return;
    part("found").replaceChildren();
    say("");
    fail(error);
  } finally {
    if (mine === state.asked) part("found").removeAttribute("aria-busy");
  }
}
