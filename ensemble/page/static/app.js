// The shell: shows the part that the address names (#triage?machine=fan), loads it when it is first shown.
import { fail, html } from "./api.js";

const parts = [...document.querySelectorAll("section.part")].map((section) => section.id.replace("part-", ""));

async function show() {
  const [name, query] = location.hash.slice(1).split("?", 2);
  if (name === "main") return;
  const shown = parts.includes(name) ? name : parts[0];
  const section = document.getElementById(`part-${shown}`);
  fail("");
  for (const part of parts) {
    document.getElementById(`part-${part}`).hidden = part !== shown;
  }
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.getAttribute("href") === `#${shown}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (!section.dataset.loaded) {
      section.innerHTML = await html(`/parts/${shown}`);
      section.dataset.loaded = "1";
    }
    const part = await import(`./${shown}.js`);
    await part.show(section, new URLSearchParams(query ?? ""));
  } catch (error) {
    fail(error);
  }
}

addEventListener("hashchange", show);
await show();
