// Texts on which latents fire; they lie by latent, the highest bin and the largest activation first.
class Examples {
  constructor(index, arrays, steps) {
    const { total, shown, corpora, words } = index;
    Object.assign(this, { total, shown, steps, corpora, words, lowered: new Map() });
    const parts = ["step", "latent", "bin", "activation", "corpus", "sequence", "peak", "start", "length", "tokens", "activations"];
    for (const part of parts) this[part] = arrays[index[part]];
    this.first = new Map();
    this.offset = new Uint32Array(shown + 1);
    for (let at = 0; at < shown; at += 1) {
      if (!this.first.has(this.latent[at])) this.first.set(this.latent[at], at);
      this.offset[at + 1] = this.offset[at] + this.length[at];
    }
  }

  // What a bin of a step holds, in words.
  binName(step, bin) {
    const bins = this.steps[step]?.bins ?? [];
    if (bins[bin] === undefined) return `Bin ${bin}`;
    const percent = (share) => short(100 * share, 3);
    return `${percent(bins[bin - 1] ?? 0)} to ${percent(bins[bin])} % of its largest activation`;
  }

  of(latent) {
    const examples = [];
    for (let at = this.first.get(latent) ?? this.shown; this.latent[at] === latent; at += 1) examples.push(this.example(at));
    return examples;
  }

  example(at) {
    const tokens = this.tokens.subarray(this.offset[at], this.offset[at + 1]);
    return {
      step: this.step[at],
      bin: this.bin[at],
      activation: this.activation[at],
      corpus: this.corpora[this.corpus[at]] ?? "",
      sequence: this.sequence[at],
      peak: this.peak[at],
      start: this.start[at],
      tokens: Array.from(tokens, (word) => this.words[word]),
      activations: this.activations.subarray(this.offset[at], this.offset[at + 1]),
    };
  }

  // Whether a text of the latent holds these lower-case letters.
  contain(latent, query) {
    if (!this.first.has(latent)) return false;
    if (!this.lowered.has(latent)) {
      const texts = this.of(latent).map((example) => example.tokens.join(""));
      this.lowered.set(latent, texts.join("\n").toLowerCase());
    }
    return this.lowered.get(latent).includes(query);
  }
}

// A line break and a tab are shown by signs; nothing else changes.
function visible(token) {
  return token.replace(/\r?\n/g, "↵").replace(/\t/g, "⇥");
}

// Tokens with a shade by their share of the largest activation; the strongest one is underlined.
function shaded(example, largest) {
  const from = Math.max(0, example.peak - 24);
  const to = Math.min(example.tokens.length, example.peak + 13);
  const token = (text, at) => {
    const activation = example.activations[at];
    const outside = at < from || at >= to ? " outside" : "";
    const peak = at === example.peak ? " peak" : "";
    if (!(activation > 0)) return element("span", { class: `token${outside}${peak}` }, visible(text));
    const level = Math.min(9, Math.max(1, Math.ceil((activation / largest) * 9)));
    const facts = { class: `token s${level}${outside}${peak}`, title: `activation ${short(activation)}`, "data-a": short(activation) };
    return element("span", facts, visible(text));
  };
  const gap = (is) => (is ? element("span", { class: "gap" }, "… ") : null);
  const cut = (is) => (is ? element("span", { class: "gap" }, " …") : null);
  return element("p", { class: "tokens", dir: "auto" }, gap(from > 0), example.tokens.map(token), cut(to < example.tokens.length));
}

function exampleItem(example, largest) {
  const peak = visible(example.tokens[example.peak] ?? "").trim();
  const place = [example.corpus, `sequence ${example.sequence}`, `token ${example.start + example.peak}`].filter(Boolean);
  return element(
    "li",
    {},
    shaded(example, largest),
    element("p", { class: "place" }, element("strong", {}, short(example.activation)), " at ", element("q", {}, peak), ` · ${place.join(", ")}`),
  );
}

const AT_FIRST = 6;

function binSection(name, examples, largest) {
  const activations = examples.map((example) => example.activation);
  const [low, high] = [Math.min(...activations), Math.max(...activations)];
  const range = low === high ? short(high) : `${short(low)} to ${short(high)}`;
  const list = element("ol", { class: "examples" }, examples.slice(0, AT_FIRST).map((example) => exampleItem(example, largest)));
  const rest = examples.slice(AT_FIRST);
  const more = element("button", { type: "button", class: "more", click: () => {
    list.append(...rest.map((example) => exampleItem(example, largest)));
    more.remove();
  } }, `${rest.length} more`);
  return element("section", {}, element("h5", {}, `${name} `, element("span", { class: "count" }, `· ${range}`)), list, rest.length ? more : null);
}

function examplesPart(all, latent) {
  const examples = all.of(latent);
  if (!examples.length) return null;
  const largest = Math.max(...examples.map((example) => example.activation), ...examples.flatMap((e) => Array.from(e.activations)));
  const binsOf = ([step, of]) => [
    saidBy(all.steps, step, examples),
    ...[...grouping(of, (example) => example.bin)].map(([bin, of]) => binSection(all.binName(step, bin), of, largest)),
  ];
  const body = element("div", {}, [...grouping(examples, (example) => example.step)].flatMap(binsOf));
  const toggle = (label, name) => {
    const box = element("input", { type: "checkbox", change: () => body.classList.toggle(name, box.checked) });
    return element("label", {}, box, ` ${label}`);
  };
  return element(
    "section",
    { class: "texts" },
    element("h4", {}, "Examples"),
    element("p", { class: "toggles" }, toggle("whole texts", "whole"), toggle("numbers", "numbers")),
    body,
  );
}
