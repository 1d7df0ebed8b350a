// Elements of the page; text in them is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children. An attribute that is null, undefined or false is left out.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

// The same for a shape of SVG.
export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// The rows of a list of keys: pairs of a key and what it does.
export function keyRows(keys) {
  return keys.map(([key, text]) => element("div", {}, element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)));
}

// A sound or a picture that cannot be loaded is replaced by a sentence. The players of an item keep their place.
export function explainMissing(root) {
  root.addEventListener(
    "error",
    ({ target }) => {
      if (target instanceof SVGImageElement) {
        target.closest("svg").replaceWith(element("p", { class: "muted" }, "This picture could not be made."));
        return;
      }
      const isPicture = target instanceof HTMLImageElement;
      if (!isPicture && !(target instanceof HTMLAudioElement && !target.closest(".player"))) return;
      const what = isPicture ? "No spectrogram" : "Nothing to play";
      target.replaceWith(element("p", { class: "muted missing" }, `${what}: the recording is not in the folder of --data, or cannot be read.`));
    },
    true,
  );
}
