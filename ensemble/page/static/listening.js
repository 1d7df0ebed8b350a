// The players of the chosen item: play, switch between the clip and its nearest normal one, loop, speed, gain, seek.
import "./player.js";

// What a person set, also after the page is opened again.
export const kept = { volume: 1, muted: false, rate: "1", loop: false, same: false, advance: true };
try {
  Object.assign(kept, JSON.parse(localStorage.getItem("listening") ?? "{}"));
} catch {
  // nothing readable is kept: the defaults hold
}

export function keep() {
  try {
    localStorage.setItem("listening", JSON.stringify(kept));
  } catch {
    // a browser without storage keeps nothing
  }
}

export class Listening {
  // place: the element of the item.
  constructor(place) {
    this.place = place;
    this.voice = "clip";
    this.lap = 0;
    this.players = new Map([...place.querySelectorAll(".player")].map((player) => [player.dataset.kind, player]));
    for (const player of this.players.values()) {
      const audio = player.querySelector("audio");
      audio.dataset.equal = audio.getAttribute("src");
      audio.volume = Math.min(1, Math.max(0, Number(kept.volume)));
      audio.muted = Boolean(kept.muted);
      audio.addEventListener("volumechange", () => this.#volume(audio));
      audio.addEventListener("play", () => this.#began(player.dataset.kind));
      audio.addEventListener("pause", () => this.show());
      audio.addEventListener("timeupdate", () => this.#turn(player, audio, false));
      audio.addEventListener("ended", () => this.#turn(player, audio, true));
    }
    if (!this.players.size) return;
    const rate = place.querySelector("select[name=rate]");
    rate.value = [...rate.options].some((option) => option.value === kept.rate) ? kept.rate : "1";
    rate.addEventListener("change", () => this.#rate(rate.value));
    this.#rate(rate.value);
    const same = place.querySelector("input[name=same]");
    if (same) {
      same.checked = Boolean(kept.same);
      same.addEventListener("change", () => this.#gain(same.checked));
      if (same.checked) this.#gain(true);
    }
    this.#loop(kept.loop);
    this.show();
  }

  get audio() {
    return this.players.get(this.voice)?.querySelector("audio");
  }

  // What is heard: this event, or the nearest normal clip.
  get title() {
    return this.players.get(this.voice)?.querySelector("span").textContent;
  }

  play() {
    const audio = this.audio;
    if (!audio) return;
    if (audio.paused) this.#start(audio);
    else audio.pause();
  }

  stop() {
    for (const player of this.players.values()) player.querySelector("audio").pause();
  }

  // The other sound at the same place; where the normal clip is shorter, it begins again.
  change() {
    const from = this.players.get(this.voice);
    const to = this.players.get(this.voice === "clip" ? "normal" : "clip");
    if (!from || !to) return;
    const [old, audio] = [from, to].map((player) => player.querySelector("audio"));
    const begin = (player) => Number(player.dataset.event ?? 0);
    const at = old.currentTime === 0 && !old.dataset.begun ? 0 : old.currentTime - begin(from);
    const length = Number(to.dataset.seconds);
    if (to.dataset.kind === "normal") {
      this.lap = Math.floor(at / length) * length;
      audio.currentTime = at - this.lap;
    } else {
      audio.currentTime = Math.min(length, Math.max(0, begin(to) + at + this.lap));
    }
    audio.dataset.begun = "1";
    const playing = !old.paused;
    old.pause();
    this.voice = to.dataset.kind;
    if (playing) this.#start(audio);
    this.show();
    return this.voice;
  }

  loop() {
    this.#loop(!kept.loop);
    this.show();
    return kept.loop;
  }

  seek(seconds) {
    const audio = this.audio;
    if (!audio) return;
    audio.dataset.begun = "1";
    const length = Number(audio.closest(".player").dataset.seconds);
    audio.currentTime = Math.min(length, Math.max(0, audio.currentTime + seconds));
    audio.dispatchEvent(new Event("timeupdate"));
  }

  // The buttons say what is on.
  show() {
    const playing = Boolean(this.audio && !this.audio.paused);
    const button = (name) => this.place.querySelector(`[data-do=${name}]`);
    if (!button("play")) return;
    button("play").firstChild.data = playing ? "Pause " : "Play ";
    button("loop").setAttribute("aria-pressed", String(kept.loop));
    const other = button("switch");
    if (other) {
      const name = other.querySelector("[data-place=voice]");
      name.textContent = name.dataset[this.voice];
    }
    for (const picture of this.place.querySelectorAll(".picture")) {
      const normal = picture.classList.contains("normal");
      picture.classList.toggle("heard", picture.classList.contains(this.voice) && (normal || this.voice === "clip"));
    }
    for (const [kind, player] of this.players) player.classList.toggle("heard", kind === this.voice);
  }

  #start(audio) {
    audio.play().catch((error) => {
      if (error.name !== "AbortError") {
        this.place.dispatchEvent(new CustomEvent("silent", { bubbles: true, detail: "The sound cannot be played." }));
      }
    });
  }

  #began(kind) {
    this.voice = kind;
    for (const player of this.players.values()) player.querySelector("audio").preload = "auto";
    this.show();
  }

  #volume(audio) {
    if (kept.volume === audio.volume && kept.muted === audio.muted) return;
    Object.assign(kept, { volume: audio.volume, muted: audio.muted });
    keep();
    for (const player of this.players.values()) Object.assign(player.querySelector("audio"), { volume: kept.volume, muted: kept.muted });
  }

  #rate(text) {
    kept.rate = text;
    keep();
    for (const player of this.players.values()) {
      const audio = player.querySelector("audio");
      audio.defaultPlaybackRate = audio.playbackRate = Number(text);
    }
  }

  #gain(same) {
    kept.same = same;
    keep();
    for (const player of this.players.values()) {
      const audio = player.querySelector("audio");
      const [at, playing] = [audio.currentTime, !audio.paused];
      audio.src = same ? audio.dataset.same : audio.dataset.equal;
      audio.currentTime = at;
      if (playing) this.#start(audio);
    }
  }

  #loop(on) {
    kept.loop = Boolean(on);
    keep();
    for (const player of this.players.values()) player.querySelector("audio").loop = kept.loop && !player.dataset.event;
  }

  // A loop is over the event, without what is before and after it.
  #turn(player, audio, ended) {
    if (!kept.loop || !player.dataset.event || (audio.paused && !ended)) return;
    if (!ended && audio.currentTime < Number(player.dataset.end)) return;
    audio.currentTime = Number(player.dataset.event);
    if (ended) this.#start(audio);
  }
}
