// The pictures of the chosen item: the one that follows later, and the enlarged one.
import { element } from "./elements.js";

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
  const attributes = { type: "button", class: "enlarge", "data-picture": "deviation" };
  const label = { "aria-label": "Enlarge: deviation from normal" };
  figure.append(element("button", { ...attributes, ...label }, element("kbd", {}, place.dataset.number), " enlarge"));
  place.replaceWith(figure);
}

// Show one picture large, or small again.
export function enlarge(item, button) {
  if (!button) return;
  const wasLarge = button.closest(".large") !== null;
  for (const each of item.querySelectorAll(".enlarge")) {
    const large = each === button && !wasLarge;
    each.lastChild.data = large ? " reduce" : " enlarge";
    each.setAttribute("aria-label", each.getAttribute("aria-label").replace(/^\w+/, large ? "Reduce" : "Enlarge"));
    each.closest(".picture").classList.toggle("large", large);
  }
  button.closest(".picture").scrollIntoView({ block: "nearest" });
}
