// Everything about one latent.
const TARGETS = [
  ["activation", "activations"],
  ["activation_no_bias", "activations without bias"],
  ["reconstruction", "reconstruction"],
  ["error", "error"],
];

function badge(word) {
  const dot = word.color ? element("i", { class: "swatch", style: `background:${word.color}`, "aria-hidden": "true" }) : null;
  return element("span", { class: "badge" }, dot, word.label);
}

// The verdict is about tuned-only latents; of others it only says how alike the two models are.
function sentences(latents, latent) {
  const word = (name) => latents.column(name)?.word(latent);
  const [kind, verdict] = [word("class"), word("verdict")];
  const texts = [kind?.meaning, verdict?.meaning].filter(Boolean);
  if (verdict && kind && kind.word !== "tuned_only" && verdict.word !== "inactive") {
    texts.push(`Verdicts judge latents that look ${latents.tuned} only; this one is ${kind.label}, so read the ratios themselves.`);
  }
  return texts.map((text) => element("p", {}, text));
}

// Lists by a key, in the order in which keys appear.
function grouping(list, key) {
  const groups = new Map();
  for (const item of list) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

// The address of a step, where several speak of the same.
function saidBy(steps, step, all) {
  const several = new Set(all.map((item) => item.step)).size > 1;
  return several ? element("p", { class: "said-by" }, element("code", {}, steps[step]?.address ?? "")) : null;
}

function normsPart(latents, latent) {
  const bar = (name, label, color) => {
    const column = latents.column(name);
    if (!column || column.empty(latent)) return null;
    return { name: label, value: column.number(latent), text: short(column.number(latent)), color, note: column.doc };
  };
  const rows = [bar("norm_base", "base", "var(--base)"), bar("norm_tuned", latents.tuned, "var(--tuned)")].filter(Boolean);
  const facts = factsOf(latents, latent, ["delta_norm", "cosine"]);
  if (!rows.length && !facts) return null;
  return element("section", {}, element("h4", {}, "Decoder norms"), rows.length ? bars(rows, "Decoder norms") : null, facts);
}

function factsOf(latents, latent, names) {
  const columns = names.map((name) => latents.column(name)).filter((column) => column && !column.empty(latent));
  const fact = (column) => element("div", { title: column.doc }, element("dt", {}, column.label), element("dd", {}, column.text(latent)));
  return columns.length ? element("dl", { class: "facts" }, columns.map(fact)) : null;
}

function scalingPart(latents, latent) {
  const drawn = ratios(latents, latent);
  const beta = (target, model) => latents.column(`beta_${target}_${model}`);
  const rows = TARGETS.filter(([target]) => ["base", "tuned"].some((model) => beta(target, model)?.empty(latent) === false));
  const cell = (target, model) => element("td", { class: "number" }, beta(target, model)?.text(latent) ?? "");
  const head = (label, kind = "") => element("th", { scope: "col", class: kind }, label);
  const table = element(
    "table",
    {},
    element("caption", { class: "hidden" }, "Factors of Latent Scaling"),
    element("thead", {}, element("tr", {}, head("β of"), head("base", "number"), head(latents.tuned, "number"))),
    element("tbody", {}, rows.map(([target, label]) => element("tr", {}, element("th", { scope: "row" }, label), cell(target, "base"), cell(target, "tuned")))),
  );
  if (!drawn && !rows.length) return null;
  return element("section", {}, element("h4", {}, "Latent Scaling"), drawn, rows.length ? table : null);
}

function firingPart(latents, latent) {
  const facts = factsOf(latents, latent, ["frequency", "max_activation", "active_tokens", "control_share", "dead"]);
  const groups = latents.groups.filter((group) => !Number.isNaN(group.frequency[latent]));
  const row = (group) => {
    const [frequency, share] = [group.frequency[latent], group.share[latent]];
    const rest = Number.isNaN(share) ? "" : ` · ${fixed(100 * share, 1)} % of its firing`;
    const note = `mean activation ${short(group.mean[latent])}, largest ${short(group.max[latent])}`;
    return { name: group.label, value: frequency, text: `${short(frequency)}${rest}`, note };
  };
  const ofStep = ([step, of]) => [saidBy(latents.steps, step, groups), bars(of.map(row), "Firing by group of tokens")];
  const drawn = groups.length
    ? [element("h5", {}, "Share of the tokens of a group on which it fires"), ...[...grouping(groups, (group) => group.step)].flatMap(ofStep)]
    : [];
  return facts || groups.length ? element("section", {}, element("h4", {}, "Where it fires"), facts, drawn) : null;
}

function twinsPart(latents, latent) {
  const twins = latents.twinsOf(latent);
  if (!twins.length) return null;
  const several = new Set(twins.map((twin) => twin.step)).size > 1;
  const item = ({ twin, ofBase, cosine, divergence, step }) => {
    const by = several ? [" · ", element("code", {}, latents.steps[step]?.address ?? "")] : [];
    const facts = [cosine === null ? "" : `cosine ${short(cosine)}`, divergence === null ? "" : `divergence ${short(divergence)}`];
    const link = element("a", { href: address(latents.name, twin) }, `latent ${twin}`);
    return element("li", {}, `${ofBase ? "base" : latents.tuned}-only `, link, ` · ${facts.filter(Boolean).join(", ")}`, ...by);
  };
  return element("section", {}, element("h4", {}, "Twin"), element("p", {}, "Latents of the other model with the same direction."), element("ul", {}, twins.map(item)));
}

function matchesPart(latents, latent) {
  const matches = latents.matchesOf(latent).slice(0, 8);
  if (!matches.length) return null;
  const item = ({ name, other, cosine, mutual }) => {
    const link = element("a", { href: address(name, other) }, `latent ${other}`);
    const rest = Number.isNaN(cosine) ? "" : ` · cosine ${short(cosine)}`;
    return element("li", {}, link, " of ", element("code", {}, name), rest, mutual ? " · each is the other's best match" : "");
  };
  return element("section", {}, element("h4", {}, "In other crosscoders"), element("ul", {}, matches.map(item)));
}

function steeringPart(latents, latent) {
  const samples = latents.steeringOf(latent);
  if (!samples.length) return null;
  const said = ({ strength, text }) =>
    element("div", {}, element("h6", {}, strength === 0 ? "without it" : `strength ${short(strength)}`), element("p", { dir: "auto" }, text));
  const sample = ([prompt, of]) => {
    const texts = of.sort((a, b) => a.strength - b.strength).map(said);
    return element("section", { class: "prompt" }, element("h5", { dir: "auto" }, prompt), element("div", { class: "said" }, texts));
  };
  const ofStep = ([step, of]) => {
    const all = [...grouping(of, (one) => one.prompt)];
    const list = element("div", {}, all.slice(0, 4).map(sample));
    const more = element("button", { type: "button", class: "more", click: () => {
      list.append(...all.slice(4).map(sample));
      more.remove();
    } }, `${all.length - 4} more prompts`);
    return [saidBy(latents.steps, step, samples), list, all.length > 4 ? more : null];
  };
  const steps = [...grouping(samples, (one) => one.step)].flatMap(ofStep);
  return element("section", { class: "steering" }, element("h4", {}, "Steering"), ...steps);
}

function everyNumber(latents, latent) {
  const columns = latents.columns.filter((column) => !column.empty(latent));
  const row = (column) => {
    const doc = [column.doc, column.unit, column.source, column.step].filter(Boolean).join(" · ");
    return element("div", {}, element("dt", {}, column.label, " ", element("code", {}, column.name)), element("dd", {}, column.text(latent), element("p", { class: "source" }, doc)));
  };
  return element("details", {}, element("summary", {}, "Every number"), element("dl", { class: "numbers" }, columns.map(row)));
}

function cardOf(latents, latent, { step, close }) {
  const words = ["class", "verdict"].map((name) => latents.column(name)?.word(latent)).filter(Boolean);
  const button = (label, sign, click) => element("button", { type: "button", title: label, click }, element("span", { "aria-hidden": "true" }, sign), hidden(label));
  const text = latents.columns.filter((column) => column.isText && !column.empty(latent));
  return [
    element(
      "header",
      {},
      element("h3", { tabindex: "-1" }, `Latent ${latent}`),
      ...words.map(badge),
      element("span", { class: "tools" }, button("Previous latent", "↑", () => step(-1)), button("Next latent", "↓", () => step(1)), button("Close", "×", close)),
    ),
    ...sentences(latents, latent),
    ...text.map((column) => element("p", { class: "said-of", dir: "auto" }, element("strong", {}, `${column.label}: `), column.text(latent))),
    normsPart(latents, latent),
    scalingPart(latents, latent),
    firingPart(latents, latent),
    twinsPart(latents, latent),
    matchesPart(latents, latent),
    examplesPart(latents.examples, latent),
    steeringPart(latents, latent),
    everyNumber(latents, latent),
    element("p", { class: "source" }, element("a", { href: address(latents.name, latent) }, "link to this latent")),
  ].filter(Boolean);
}
