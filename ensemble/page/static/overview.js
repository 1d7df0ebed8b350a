// Shows the part "overview"; called each time it is shown. section: its element; params: those of the address.
// The shell loads it once. It is loaded again when it is shown again, because marks may have been made meanwhile.
import { html } from "./api.js";

let isLoaded = false;

export async function show(section, params) {
  if (isLoaded) section.innerHTML = await html("/parts/overview");
  isLoaded = true;
}
