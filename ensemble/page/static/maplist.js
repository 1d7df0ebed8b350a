// The clip that was clicked in a map, and the list of chosen ones: to listen to, to open in other parts, and to mark.
import { fail, postMark, say } from "./api.js";
import { element } from "./elements.js";
import { address } from "./key.js";
import { counted, whole } from "./words.js";

const SHOWN = 200;
const MARKS = { fault: "fault", normal: "normal", ignore: "ignore", none: "no mark" };

// A ratio as the other parts write it.
const times = (excess) => `${excess >= 9.95 ? whole(Math.round(excess)) : excess.toFixed(1)} times the threshold`;

export const name = (data, i) => data.text[i] ?? data.key[i];

export function facts(data, i) {
  const of = (property) => data.classes[property].names[data.classes[property].of[i]];
  const words = [of("section"), of("split")];
  if (of("domain") !== "unknown") words.push(`${of("domain")} domain`);
  if (of("role") === "generated") words.push("generated anomaly");
  if (data.excess[i] !== null) words.push(`${of("decision")}, ${times(data.excess[i])}`);
  if (of("label") !== "unknown" && of("role") === "scored") words.push(`labelled ${of("label")}`);
  if (of("verdict") !== "none") words.push(`marked ${of("verdict")}`);
  return words.join(", ");
}

const isGenerated = (data, i) => data.classes.role.names[data.classes.role.of[i]] === "generated";

function links(data, i) {
  return element(
    "span",
    { class: "links" },
    data.row[i] >= 0 ? element("a", { href: `#triage?clip=${data.row[i]}` }, "Open in triage") : "",
    " ",
    element("a", { href: `#search?clip=${address(data.key[i])}` }, "More like this"),
  );
}

// Show a clip in an element, and play it.
export function showClip(target, data, i) {
  const title = name(data, i);
  const clip = address(data.key[i]);
  target.replaceChildren(element("h3", { class: "name" }, title), element("p", { class: "muted" }, facts(data, i)));
  if (isGenerated(data, i)) {
    target.append(element("p", {}, "Generated from a recording for tests; there is no file to play."));
  } else {
    const player = element("audio", { controls: true, preload: "none", src: `/sound/audio.wav?clip=${clip}`, "aria-label": title });
    const picture = element("img", { class: "found-picture", alt: `Spectrogram of ${title}`, src: `/sound/picture.png?clip=${clip}&kind=clip` });
    target.append(player, picture);
    player.play().catch(() => {}); // not found, or the browser waits for a click: the player says so
  }
  target.append(links(data, i));
}

// Show a list of points. listen(i): show one of them. done(): after marks were made.
// clear(): no choice any more. again: whether the list was there before.
export function showList(target, data, points, { listen, done, clear, again }) {
  target.hidden = !points.length;
  const rows = points.slice(0, SHOWN).map((i) =>
    element(
      "li",
      {},
      element("button", { type: "button", class: "listen", onclick: () => listen(i) }, "Listen"),
      element("span", { class: "words" }, element("span", { class: "name" }, name(data, i)), element("span", { class: "muted" }, facts(data, i))),
      links(data, i),
    ),
  );
  const heading = element("h3", { tabindex: "-1" }, `${count(points.length)} chosen`);
  const marking = element("div", { class: "marking", "aria-live": "polite" });
  const marked = points.filter((i) => !isGenerated(data, i));
  const offer = () =>
    marking.replaceChildren(
      marked.length ? `Mark ${marked.length < points.length ? `the ${count(marked.length)} that are recordings` : "all"} as: ` : "Generated anomalies cannot be marked. ",
      ...(marked.length ? Object.entries(MARKS) : []).map(([mark, title]) => element("button", { type: "button", onclick: () => ask(mark) }, title)),
      element("button", { type: "button", class: "quiet", onclick: clear }, "Clear the choice"),
    );
  const ask = (mark) => {
    const yes = element("button", { type: "button", onclick: () => run(mark) }, `Yes, mark ${count(marked.length)}`);
    marking.replaceChildren(
      `Mark ${count(marked.length)} as ${MARKS[mark]}? Each mark is written to the store; triage can take back the last one. `,
      yes,
      element("button", { type: "button", class: "quiet", onclick: offer }, "Cancel"),
    );
    yes.focus();
  };
  const run = async (mark) => {
    let stopped = false;
    let written = 0;
    const progress = element("progress", { max: marked.length, value: 0, "aria-label": "Marks written" });
    const stop = element("button", { type: "button", onclick: () => { stopped = true; } }, "Stop");
    marking.replaceChildren(progress, ` ${count(marked.length)} to mark `, stop);
    stop.focus();
    try {
      for (const i of marked) {
        if (stopped) break;
        await postMark({ clip: data.key[i] }, mark);
        written += 1;
        progress.value = written;
      }
      say(`${written} of ${count(marked.length)} marked: ${MARKS[mark]}.`);
    } catch (error) {
      fail(new Error(`${written} of ${count(marked.length)} marked (${MARKS[mark]}), then it stopped: ${error.message}`));
    }
    await done();
  };
  offer();
  const more = points.length > SHOWN ? element("p", { class: "muted" }, `The first ${SHOWN} of ${whole(points.length)} are listed.`) : "";
  target.replaceChildren(heading, marking, element("ol", { class: "map-rows" }, ...rows), more);
  if (!points.length || again) return;
  say(`${count(points.length)} chosen.`);
  target.scrollIntoView({ block: "nearest" });
  if (target.dataset.keyboard) heading.focus();
}

const count = (n) => counted(n, "clip");
