// The bar above the latents: search, a list for every column of few words, ranges of numbers, and which columns are shown.
class Filters {
  constructor(root, changed) {
    Object.assign(this, { root, changed });
    this.search = root.querySelector("#latent-search");
    this.choices = root.querySelector(".choices");
    this.ranges = root.querySelector(".ranges");
    this.form = root.querySelector(".range");
    this.columns = root.querySelector(".columns ul");
    this.search.addEventListener("input", settled(120, () => this.searched()));
    this.form.addEventListener("submit", (event) => this.add(event));
    root.querySelector(".clear").addEventListener("click", () => this.clear());
  }

  show(latents) {
    this.latents = latents;
    this.search.value = latents.filter.query;
    this.choices.replaceChildren(...latents.columns.filter((column) => column.isChoice).map((column) => this.choice(column)).filter(Boolean));
    const numbers = latents.columns.filter((column) => column.isNumber);
    this.form.elements.column.replaceChildren(...numbers.map((column) => element("option", { value: column.name }, column.label)));
    this.form.elements.column.value = latents.column("frequency") ? "frequency" : numbers[0].name;
    this.columns.replaceChildren(...latents.columns.slice(1).map((column) => this.visibility(column)));
    this.listRanges();
  }

  // A column that says the same of every latent is no choice.
  choice(column) {
    const choices = column.choices();
    if (choices.length < 2) return null;
    const options = choices.map(({ cell, count, label }) => element("option", { value: cell }, `${label} (${grouped(count)})`));
    const chosen = this.latents.filter.choices.get(column);
    const select = element("select", { change: () => this.choose(column, select.value) }, element("option", { value: "" }, "all"), options);
    select.value = chosen ?? "";
    return element("label", {}, `${column.label} `, select);
  }

  choose(column, value) {
    if (value === "") this.latents.filter.choices.delete(column);
    else this.latents.filter.choices.set(column, Number(value));
    this.changed();
  }

  searched() {
    this.latents.filter.query = this.search.value;
    this.changed();
  }

  add(event) {
    event.preventDefault();
    const { column, low, high } = this.form.elements;
    if (low.value === "" && high.value === "") return low.focus();
    const bound = (input, none) => (input.value === "" ? none : Number(input.value));
    const range = { column: this.latents.column(column.value), low: bound(low, -Infinity), high: bound(high, Infinity) };
    this.latents.filter.ranges.push(range);
    low.value = high.value = "";
    this.listRanges();
    this.changed();
  }

  listRanges() {
    const { ranges } = this.latents.filter;
    const text = ({ column, low, high }) => {
      if (high === Infinity) return `${column.label} ≥ ${short(low)}`;
      return low === -Infinity ? `${column.label} ≤ ${short(high)}` : `${short(low)} ≤ ${column.label} ≤ ${short(high)}`;
    };
    const remove = (range) => {
      ranges.splice(ranges.indexOf(range), 1);
      this.listRanges();
      this.changed();
      this.form.elements.low.focus();
    };
    const item = (range) =>
      element("li", {}, element("button", { type: "button", title: "remove this range", click: () => remove(range) }, `${text(range)} `, element("span", { "aria-hidden": "true" }, "×"), hidden("remove")));
    this.ranges.replaceChildren(...ranges.map(item));
    this.ranges.hidden = !ranges.length;
  }

  visibility(column) {
    const box = element("input", { type: "checkbox", change: () => {
      column.main = box.checked;
      this.changed(true);
    } });
    box.checked = column.main;
    return element("li", {}, element("label", { title: column.doc }, box, ` ${column.label} `, element("code", {}, column.name)));
  }

  clear() {
    this.latents.filter = { query: "", choices: new Map(), ranges: [] };
    this.show(this.latents);
    this.changed();
    this.search.focus();
  }
}
