// One column of the latents: what a cell says, and by what it is sorted.
class Column {
  constructor(facts, cells) {
    Object.assign(this, facts);
    this.cells = cells;
    // A handful of words can be chosen from a list; more, or long ones, are searched as text.
    this.isText = this.kind === "words" && (this.words.length > 30 || this.words.some(({ label }) => label.length > 24));
    this.isChoice = (this.kind === "words" && !this.isText) || this.kind === "truth";
    this.isNumber = this.kind === "real" || this.kind === "whole";
  }

  empty(row) {
    const cell = this.cells[row];
    if (this.kind === "real") return Number.isNaN(cell);
    if (this.kind === "whole") return this.cells instanceof Int32Array ? cell === -2147483648 : Number.isNaN(cell);
    return cell === (this.cells instanceof Uint8Array ? 255 : 4294967295);
  }

  // A number or NaN.
  number(row) {
    return this.empty(row) ? NaN : this.cells[row];
  }

  // The entry of a word, or undefined.
  word(row) {
    return this.kind === "words" && !this.empty(row) ? this.words[this.cells[row]] : undefined;
  }

  // `digits` count where a column has numbers of very unlike sizes.
  text(row, digits = 4) {
    if (this.empty(row)) return "";
    if (this.kind === "words") return this.words[this.cells[row]].label;
    if (this.kind === "truth") return this.cells[row] ? "yes" : "no";
    if (this.kind === "whole") return minus(String(this.cells[row]));
    this.places ??= { digits: decimals(this.cells) };
    return this.places.digits === null ? short(this.cells[row], digits) : fixed(this.cells[row], this.places.digits);
  }

  // Numbers to sort by, NaN where the cell is empty: words go by their labels.
  get keys() {
    if (this.isNumber && this.cells instanceof Float32Array) return this.cells;
    if (this.sortKeys) return this.sortKeys;
    const rank = new Map();
    if (this.kind === "words") {
      const order = this.words.map((_, at) => at);
      const label = (at) => this.words[at].label;
      order.sort((a, b) => label(a).localeCompare(label(b), "en", { numeric: true }));
      order.forEach((at, place) => rank.set(at, place));
    }
    const key = (row) => (this.empty(row) ? NaN : rank.get(this.cells[row]) ?? this.cells[row]);
    this.sortKeys = Float64Array.from(this.cells, (_, row) => key(row));
    return this.sortKeys;
  }

  // Choices with the number of latents of each.
  choices() {
    const counts = new Map();
    for (let row = 0; row < this.cells.length; row += 1) {
      if (!this.empty(row)) counts.set(this.cells[row], (counts.get(this.cells[row]) ?? 0) + 1);
    }
    const label = (cell) => (this.kind === "truth" ? (cell ? "yes" : "no") : this.words[cell].label);
    const choices = [...counts].map(([cell, count]) => ({ cell, count, label: label(cell) }));
    return choices.sort((a, b) => a.label.localeCompare(b.label, "en", { numeric: true }));
  }
}
