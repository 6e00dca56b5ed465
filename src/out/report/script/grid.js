// A table of all latents of which only the rows in sight are in the document.
const ROW = 32;
const BEYOND = 8;
// In sight; a style that lets the list grow must not draw all.
const MOST = 200;
const PRINTED = 60;

class Grid {
  constructor(table, { open, close, sort }) {
    Object.assign(this, { table, open, close, sort, scroller: table.parentElement, row: 0, at: 0, first: -1, opened: null });
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw(true)).observe(this.scroller);
    table.addEventListener("keydown", (event) => this.key(event));
    table.tBodies[0].addEventListener("click", (event) => this.click(event));
  }

  // Another crosscoder, or other columns.
  show(latents, columns) {
    Object.assign(this, { latents, columns, at: Math.min(this.at, columns.length - 1) });
    const width = (column) => {
      if (column.name === "latent") return 88;
      return column.isText ? 320 : Math.max(96, Math.min(180, 48 + 7.6 * longestWord(column.label)), column.kind === "words" ? 128 : 0);
    };
    const widths = columns.map(width);
    this.table.style.width = `max(100%, ${widths.reduce((a, b) => a + b, 0)}px)`;
    this.table.replaceChildren(
      this.table.caption,
      element("colgroup", {}, widths.map((pixels) => element("col", { style: `width:${pixels}px` }))),
      element("thead", {}, element("tr", { "aria-rowindex": 1 }, columns.map((column, at) => this.head(column, at)))),
      this.table.tBodies[0],
    );
    this.table.setAttribute("aria-colcount", columns.length);
    this.refresh();
  }

  head(column, at) {
    const { down, column: by } = this.latents.sort;
    const state = by === column ? (down ? "descending" : "ascending") : null;
    const button = element("button", { type: "button", tabindex: -1, click: () => this.clickHead(column, at) }, column.label);
    const title = [column.doc, column.unit, column.source].filter(Boolean).join(" · ");
    const kind = column.isNumber ? "number" : "";
    return element("th", { scope: "col", class: kind, title, "aria-sort": state, "aria-colindex": at + 1, id: `head-${at}` }, button);
  }

  clickHead(column, at) {
    Object.assign(this, { row: -1, at });
    this.sort(column);
  }

  // Other rows, or another order of them.
  refresh() {
    this.table.setAttribute("aria-rowcount", this.latents.rows.length + 1);
    this.row = Math.max(-1, Math.min(this.row, this.latents.rows.length - 1));
    this.draw(true);
  }

  // The rows in sight, with room for the others above and below.
  draw(anew = false) {
    if (!this.latents) return;
    const rows = this.latents.rows;
    const room = Math.min(MOST, Math.ceil(this.scroller.clientHeight / ROW));
    const top = Math.floor(this.scroller.scrollTop / ROW);
    const first = this.printing ? 0 : Math.max(0, Math.min(top - BEYOND, rows.length - room - BEYOND));
    if (!anew && first === this.first) return;
    this.first = first;
    const last = this.printing ? Math.min(rows.length, PRINTED) : Math.min(rows.length, first + room + 2 * BEYOND);
    const made = [];
    for (let at = first; at < last; at += 1) made.push(this.line(rows[at], at));
    const space = (count) => (this.printing || count <= 0 ? null : this.space(count * ROW));
    this.table.tBodies[0].replaceChildren(...[space(first), ...made, space(rows.length - last)].filter(Boolean));
    this.point();
  }

  space(height) {
    return element("tr", { class: "space", "aria-hidden": "true" }, element("td", { colspan: this.columns.length, style: `height:${height}px` }));
  }

  line(latent, at) {
    const line = document.createElement("tr");
    line.id = `row-${at}`;
    line.setAttribute("aria-rowindex", at + 2);
    line.dataset.latent = latent;
    if (latent === this.opened) line.setAttribute("aria-selected", "true");
    this.columns.forEach((column, place) => {
      const cell = line.insertCell();
      cell.id = `cell-${at}-${place}`;
      cell.setAttribute("aria-colindex", place + 1);
      if (column.isNumber) cell.className = "number";
      const color = column.word(latent)?.color;
      if (color) cell.append(element("i", { class: "swatch", style: `background:${color}`, "aria-hidden": "true" }));
      cell.append(column.text(latent, 3));
    });
    return line;
  }

  // The cell that the keyboard is at; row -1 is the head.
  cell() {
    return document.getElementById(this.row < 0 ? `head-${this.at}` : `cell-${this.row}-${this.at}`);
  }

  point() {
    this.table.querySelectorAll(".here, .at").forEach((marked) => marked.classList.remove("here", "at"));
    const cell = this.cell();
    cell?.classList.add("at");
    cell?.parentElement.classList.add("here");
    if (cell) this.table.setAttribute("aria-activedescendant", cell.id);
    else this.table.removeAttribute("aria-activedescendant");
  }

  move(row, at = this.at) {
    this.row = Math.max(-1, Math.min(row, this.latents.rows.length - 1));
    this.at = Math.max(0, Math.min(at, this.columns.length - 1));
    this.bringIntoSight();
    this.draw();
    this.point();
    this.bringColumnIntoSight();
    if (this.opened !== null && this.row >= 0) this.open(this.latents.rows[this.row], "list");
  }

  bringIntoSight() {
    if (this.row < 0) return;
    const head = this.table.tHead.offsetHeight;
    const [top, bottom] = [this.row * ROW, (this.row + 1) * ROW + head];
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    if (bottom > this.scroller.scrollTop + this.scroller.clientHeight) this.scroller.scrollTop = bottom - this.scroller.clientHeight;
  }

  bringColumnIntoSight() {
    const cell = this.cell();
    if (this.at === 0) this.scroller.scrollLeft = 0;
    if (!cell || this.at === 0) return;
    const pinned = this.table.tHead.rows[0].cells[0].offsetWidth;
    const [left, right] = [cell.offsetLeft - pinned, cell.offsetLeft + cell.offsetWidth];
    if (left < this.scroller.scrollLeft) this.scroller.scrollLeft = left;
    if (right > this.scroller.scrollLeft + this.scroller.clientWidth) this.scroller.scrollLeft = right - this.scroller.clientWidth;
  }

  enter() {
    if (this.row < 0) this.sort(this.columns[this.at]);
    else this.open(this.latents.rows[this.row], "entered");
  }

  // To the row of a latent, if it is among those shown.
  find(latent) {
    const row = this.latents.rows.indexOf(latent);
    if (row < 0) return;
    this.row = row;
    const [seen, height] = [this.scroller.scrollTop, this.scroller.clientHeight - this.table.tHead.offsetHeight];
    if (row * ROW < seen || (row + 1) * ROW > seen + height) this.scroller.scrollTop = Math.max(0, row * ROW - height / 3);
    this.draw(true);
  }

  key(event) {
    if (event.altKey || event.metaKey || !this.latents) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const moves = {
      ArrowUp: () => this.move(this.row - 1),
      ArrowDown: () => this.move(this.row + 1),
      ArrowLeft: () => this.move(this.row, this.at - 1),
      ArrowRight: () => this.move(this.row, this.at + 1),
      PageUp: () => this.move(this.row - page),
      PageDown: () => this.move(this.row + page),
      Home: () => this.move(0),
      End: () => this.move(this.latents.rows.length - 1),
      Enter: () => this.enter(),
      Escape: () => this.close(),
    };
    if (!(event.key in moves) || event.target !== this.table) return;
    event.preventDefault();
    moves[event.key]();
  }

  click(event) {
    const line = event.target.closest("tr[data-latent]");
    if (!line) return;
    this.row = Number(line.id.slice("row-".length));
    this.at = event.target.closest("td")?.cellIndex ?? this.at;
    this.point();
    this.open(Number(line.dataset.latent), "entered");
  }

  mark(latent) {
    this.opened = latent;
    this.draw(true);
  }
}

function longestWord(text) {
  return Math.max(...text.split(/[\s_]+/).map((word) => word.length));
}
