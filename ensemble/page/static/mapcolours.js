// Classes of the points of a map and their colours, which colour-blind people can tell apart too.

const LIGHT = ["#0072b2", "#d55e00", "#00866a", "#a8458f", "#8c6d00", "#3b8fc4", "#882255", "#444b52"];
const DARK = ["#56b4e9", "#ff8a3d", "#2fcf9f", "#e58ac4", "#e6c229", "#9cc9ff", "#f2a0b5", "#dfe4ea"];
const GREY = ["#9aa4af", "#74808c"];
const LIMITS = [0.25, 0.5, 0.8, 1, 1.5, 3, 10];
const TIMES = ["up to 0.25 times", "0.25 to 0.5 times", "0.5 to 0.8 times", "0.8 to 1 times", "1 to 1.5 times", "1.5 to 3 times", "3 to 10 times", "over 10 times"];
const RAMP_LIGHT = ["#a9cbe8", "#6fa6d6", "#3a7dbd", "#145591", "#f0a24a", "#e0741b", "#b8480a", "#7d2503"];
const RAMP_DARK = ["#2f4f6d", "#3f729f", "#5796cf", "#8cc4f5", "#b35a12", "#e27d2a", "#ffa95c", "#ffdcb0"];
// Colour by name of a class, as its number in the palette; -1 is grey.
const FIXED = {
  decision: { reported: 1, "not reported": 0, "not scored": -1 },
  verdict: { fault: 1, normal: 0, ignore: 3, none: -1 },
  domain: { source: 0, target: 1, unknown: -1 },
  label: { normal: 0, anomaly: 1, unknown: -1 },
  split: { test: 0, train: -1, supplemental: 4 },
};

export const dark = matchMedia("(prefers-color-scheme: dark)");

// The classes of the points by a property: names, colours, the class `of` each point, and how many points each has.
export function classes(data, property) {
  const grey = GREY[dark.matches ? 1 : 0];
  const palette = dark.matches ? DARK : LIGHT;
  const n = data.x.length;
  const of = new Uint8Array(n);
  let names;
  let colours;
  if (property === "excess") {
    names = [...TIMES, "not scored"];
    colours = [...(dark.matches ? RAMP_DARK : RAMP_LIGHT), grey];
    for (let i = 0; i < n; i += 1) of[i] = data.excess[i] === null ? 8 : LIMITS.filter((limit) => data.excess[i] > limit).length;
  } else {
    const column = data.classes[property];
    const fixed = FIXED[property];
    const counts = new Uint32Array(column.names.length);
    for (const name of column.of) counts[name] += 1;
    if (fixed) {
      names = column.names;
      colours = names.map((name) => palette[fixed[name]] ?? grey);
      of.set(column.of);
    } else {
      // the largest classes have colours, the others share one
      const most = column.names.length > palette.length ? palette.length - 1 : palette.length;
      const named = [...counts.keys()].sort((a, b) => counts[b] - counts[a]).slice(0, most).sort((a, b) => a - b);
      names = named.map((i) => column.names[i]);
      colours = palette.slice(0, names.length);
      if (counts.length > names.length) {
        names.push(`${counts.length - names.length} others`);
        colours.push(grey);
      }
      const place = new Uint8Array(counts.length).fill(names.length - 1);
      named.forEach((i, at) => {
        place[i] = at;
      });
      for (let i = 0; i < n; i += 1) of[i] = place[column.of[i]];
    }
  }
  const count = new Uint32Array(names.length);
  for (const name of of) count[name] += 1;
  return { names, colours, of, count, grey };
}
