// The pictures of the chosen item: those that follow later, those that cannot be made, and the enlarged one.

// A picture that cannot be made becomes a sentence.
export function watch(place) {
  for (const image of place.querySelectorAll("image")) image.addEventListener("error", () => broken(image));
}

function broken(image) {
  const text = document.createElement("p");
  text.className = "muted";
  text.textContent = "This picture could not be made.";
  image.closest("svg").replaceWith(text);
}

// Put the deviation map in its place, and its sentence into the head where there is none yet.
export function fillDeviation(item, place, text) {
  place.innerHTML = text;
  const sentence = place.querySelector("p.where");
  if (sentence) {
    const known = item.querySelector(".item-head > p.where");
    if (known) sentence.remove();
    else item.querySelector("[data-place=sentence]").replaceChildren(sentence);
  }
  const figure = place.querySelector(".picture");
  if (!figure) return;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "enlarge" });
  Object.assign(button.dataset, { picture: "deviation" });
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", "Enlarge: deviation from normal");
  button.innerHTML = "<kbd></kbd> enlarge";
  button.querySelector("kbd").textContent = place.dataset.number;
  figure.append(button);
  watch(figure);
  place.replaceWith(figure);
}

// Show one picture large, or small again.
export function enlarge(item, button) {
  if (!button) return;
  const wasLarge = button.getAttribute("aria-pressed") === "true";
  for (const each of item.querySelectorAll(".enlarge")) {
    const large = each === button && !wasLarge;
    each.setAttribute("aria-pressed", String(large));
    each.closest(".picture").classList.toggle("large", large);
  }
  button.closest(".picture").scrollIntoView({ block: "nearest" });
}
