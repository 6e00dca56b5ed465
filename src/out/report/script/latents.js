// The latents of one crosscoder: their columns, texts and twins, in the order and selection that the reader asks for.
class Latents {
  constructor({ index, arrays }) {
    Object.assign(this, index);
    const numbers = Int32Array.from({ length: this.count }, (_, latent) => latent);
    const latent = { name: "latent", label: "latent", unit: "", doc: "Index of the latent, from 0.", source: "", step: "" };
    this.columns = [
      new Column({ ...latent, main: true, kind: "whole", words: [] }, numbers),
      ...index.columns.map((column) => new Column(column, arrays[column.part])),
    ];
    this.groups = index.groups.map((group) => {
      const { share, frequency, mean, max } = group;
      return { ...group, share: arrays[share], frequency: arrays[frequency], mean: arrays[mean], max: arrays[max] };
    });
    this.matches = index.matches.map((of) => {
      const { latent, other, cosine, mutual } = of;
      return { name: of.name, latent: arrays[latent], other: arrays[other], cosine: arrays[cosine], mutual: arrays[mutual] };
    });
    this.examples = new Examples(index.examples, arrays, index.steps);
    this.order = Uint32Array.from(numbers);
    this.sort = { column: this.columns[0], down: false };
    this.filter = { query: "", choices: new Map(), ranges: [] };
    this.rows = this.order;
  }

  column(name) {
    return this.columns.find((column) => column.name === name);
  }

  // Stable, as sorting is, and empty cells last.
  sortBy(column, down) {
    const keys = column.keys;
    const filled = this.order.filter((latent) => !Number.isNaN(keys[latent]));
    const empty = this.order.filter((latent) => Number.isNaN(keys[latent]));
    filled.sort((a, b) => (down ? keys[b] - keys[a] : keys[a] - keys[b]));
    this.order.set(filled);
    this.order.set(empty, filled.length);
    this.sort = { column, down };
    this.select();
  }

  // Rows that pass every filter, in order.
  select() {
    const tests = [];
    for (const [column, cell] of this.filter.choices) tests.push((latent) => column.cells[latent] === cell);
    for (const { column, low, high } of this.filter.ranges) {
      // An empty cell is NaN and in no range.
      tests.push((latent) => column.number(latent) >= low && column.number(latent) <= high);
    }
    const query = this.filter.query.trim().toLowerCase();
    if (query) tests.push(this.search(query));
    this.rows = tests.length ? this.order.filter((latent) => tests.every((test) => test(latent))) : this.order;
  }

  // Latents whose number begins like the query, or with texts that hold it.
  search(query) {
    const isNumber = /^\d+$/.test(query);
    const texts = this.columns.filter((column) => column.isText);
    return (latent) =>
      (isNumber && String(latent).startsWith(query)) ||
      texts.some((column) => column.text(latent).toLowerCase().includes(query)) ||
      this.examples.contain(latent, query);
  }

  twinsOf(latent) {
    const pairs = this.twins.filter(([tuned, base]) => tuned === latent || base === latent);
    return pairs.map(([tuned, base, cosine, divergence, step]) => {
      return { twin: tuned === latent ? base : tuned, ofBase: tuned === latent, cosine, divergence, step };
    });
  }

  // Like latents of other crosscoders: the best ones first.
  matchesOf(latent) {
    const found = [];
    for (const { name, latent: ours, other, cosine, mutual } of this.matches) {
      for (let at = ours.indexOf(latent); at >= 0; at = ours.indexOf(latent, at + 1)) {
        found.push({ name, other: other[at], cosine: cosine[at], mutual: mutual[at] === 1 });
      }
    }
    return found.sort((a, b) => b.mutual - a.mutual || b.cosine - a.cosine);
  }

  steeringOf(latent) {
    return this.steering
      .filter(([of]) => of === latent)
      .map(([, strength, prompt, text, step]) => ({ strength, prompt, text, step }));
  }
}
