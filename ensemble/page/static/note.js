// The note of the chosen item. It is saved with the mark of the item; what is typed for an item without a mark is kept here.
const drafts = new Map(); // row -> text that is not saved yet

export class Note {
  // item: the element of the item. row: of the item.
  constructor(item, row) {
    this.item = item;
    this.row = row;
    this.field = item.querySelector("input[name=note]");
    this.saved = this.field.value;
    this.field.value = drafts.get(row) ?? this.saved;
  }

  get text() {
    return this.field.value;
  }

  // The mark that holds for the item, "" for none.
  get word() {
    return this.item.querySelector(".decide [data-mark][aria-pressed=true]")?.dataset.mark ?? "";
  }

  // Keep the text. Returns {row, word, text} where it can be saved with the mark of the item, null where it need not be.
  keep() {
    if (this.text === this.saved) drafts.delete(this.row);
    else drafts.set(this.row, this.text);
    return this.word && this.text !== this.saved ? { row: this.row, word: this.word, text: this.text } : null;
  }

  // A text was saved for a row; what was typed since then stays.
  sent(row, text) {
    if (drafts.get(row) === text) drafts.delete(row);
    if (row === this.row) this.saved = text;
  }

  // The note that the server has now; a text that is not saved yet stays.
  renew(text) {
    const isChanged = this.text !== this.saved;
    this.saved = text;
    if (!isChanged) this.field.value = text;
  }
}
