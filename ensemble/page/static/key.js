// The key of a clip in an address. Bytes of a name that are not UTF-8 arrive as lone surrogates and leave as these bytes.
export function address(key) {
  return Array.from(key, (letter) => {
    const code = letter.charCodeAt(0);
    if (letter.length === 1 && code >= 0xdc80 && code <= 0xdcff) return `%${(code - 0xdc00).toString(16).toUpperCase()}`;
    return letter.isWellFormed?.() === false ? "%EF%BF%BD" : encodeURIComponent(letter);
  }).join("");
}

// An element with text and attributes; text is never read as HTML.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// A sound or a picture that cannot be loaded is replaced by a sentence.
export function explainMissing(root) {
  root.addEventListener(
    "error",
    (event) => {
      const { target } = event;
      if (!(target instanceof HTMLImageElement || target instanceof HTMLAudioElement)) return;
      const what = target instanceof HTMLImageElement ? "No spectrogram" : "Nothing to play";
      target.replaceWith(element("p", { class: "muted missing" }, `${what}: the recording is not in the folder of --data, or cannot be read.`));
    },
    true,
  );
}
