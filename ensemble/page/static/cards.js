// Sorts and filters the cards of a report. No imports and no exports: the report has it inline.
{
  const controls = document.getElementById("cards-controls");
  if (controls) start(controls, document.getElementById("cards"));

  function start(controls, box) {
    const cards = [...box.children];
    const words = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
    const sort = document.getElementById("cards-sort");
    const text = document.getElementById("cards-text");
    const selects = [...controls.querySelectorAll("select[data-filter]")];
    const count = document.getElementById("cards-count");

    const isShown = (card) =>
      selects.every((select) => select.selectedIndex === 0 || card.dataset[select.dataset.filter] === select.value) &&
      text.value.toLowerCase().split(/\s+/).every((word) => words.get(card).includes(word));

    function filter() {
      let shown = 0;
      for (const card of cards) {
        card.hidden = !isShown(card);
        if (card.hidden) card.querySelectorAll("audio").forEach((audio) => audio.pause());
        else shown += 1;
      }
      const noun = cards.length === 1 ? "card" : "cards";
      count.textContent = `${shown} of ${cards.length} ${noun} shown`;
    }

    const order = (a, b) => a.dataset.order - b.dataset.order;
    const ways = {
      order,
      time: (a, b) => newest(a) - newest(b) || order(a, b),
      place: (a, b) =>
        a.dataset.machine.localeCompare(b.dataset.machine) ||
        a.dataset.section.localeCompare(b.dataset.section) ||
        order(a, b),
    };
    const newest = (card) => (card.dataset.time === "nan" ? Number.MAX_VALUE : -card.dataset.time);

    sort.addEventListener("change", () => box.append(...[...cards].sort(ways[sort.value])));
    for (const select of selects) select.addEventListener("change", filter);
    text.addEventListener("input", filter);
    document.getElementById("cards-reset").addEventListener("click", () => {
      for (const select of selects) select.selectedIndex = 0;
      text.value = "";
      filter();
    });
    // A browser may restore the choices of an earlier visit without an event.
    addEventListener("pageshow", () => {
      box.append(...[...cards].sort(ways[sort.value]));
      filter();
    });
    controls.hidden = false;
    filter();
  }
}
