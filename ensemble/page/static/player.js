// Moves the cursor of the pictures that belong to a player, and seeks where a picture is clicked. A player and its
// pictures are in one element of class "card". No imports and no exports: the report has it inline.
{
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const ofNormal = (picture) => picture.classList.contains("normal");

  function lines(player) {
    const normal = player.dataset.kind === "normal";
    const all = player.closest(".card")?.querySelectorAll(".picture line.cursor") ?? [];
    return [...all].filter((line) => ofNormal(line.closest(".picture")) === normal);
  }

  function draw(player, audio) {
    const time = Number(player.dataset.start) + audio.currentTime;
    for (const line of lines(player)) {
      const [left, width, start, end] = ["left", "width", "start", "end"].map((name) => Number(line.dataset[name]));
      const share = (time - start) / (end - start);
      const x = left + width * Math.min(1, Math.max(0, share));
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.setAttribute("visibility", share >= -0.01 && share <= 1.01 ? "visible" : "hidden");
    }
  }

  function follow(player, audio) {
    draw(player, audio);
    if (!audio.paused && !audio.ended && !still.matches) requestAnimationFrame(() => follow(player, audio));
  }

  // Media events do not bubble; they are caught on their way down.
  function on(name, handle) {
    document.addEventListener(name, (event) => {
      const player = event.target.closest?.(".player");
      if (player && event.target.matches("audio")) handle(player, event.target);
    }, true);
  }

  on("play", (player, audio) => {
    const event = Number(player.dataset.event ?? 0);
    if (event > 0 && audio.currentTime === 0 && !audio.dataset.begun) audio.currentTime = event;
    audio.dataset.begun = "1";
    for (const other of document.querySelectorAll(".player audio")) {
      if (other !== audio) other.pause();
    }
    follow(player, audio);
  });
  on("ended", (player, audio) => delete audio.dataset.begun);
  for (const name of ["timeupdate", "seeking", "seeked", "pause"]) on(name, draw);

  document.addEventListener("click", (event) => {
    const svg = event.target.closest?.(".picture svg");
    const line = svg?.querySelector("line.cursor");
    if (!line) return;
    const normal = ofNormal(svg.closest(".picture"));
    const players = [...(svg.closest(".card")?.querySelectorAll(".player") ?? [])];
    const player = players.find((each) => (each.dataset.kind === "normal") === normal);
    const audio = player?.querySelector("audio");
    if (!audio) return;
    const [left, width, start, end] = ["left", "width", "start", "end"].map((name) => Number(line.dataset[name]));
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    const time = start + Math.min(1, Math.max(0, (x - left) / width)) * (end - start);
    audio.dataset.begun = "1";
    audio.currentTime = Math.max(0, time - Number(player.dataset.start));
    draw(player, audio);
  });
}
