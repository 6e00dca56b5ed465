// Small drawings of the card: bars, and ratios with their intervals.
function bars(rows, label) {
  const largest = Math.max(...rows.map((row) => row.value), 0) || 1;
  const bar = ({ name, value, text, color, note }) => [
    element("dt", {}, name),
    element(
      "dd",
      { title: note },
      element("span", { class: "length", "aria-hidden": "true" }, element("i", { style: `width:${(100 * value) / largest}%${color ? `;background:${color}` : ""}` })),
      element("span", { class: "amount" }, text),
    ),
  ];
  return element("dl", { class: "bars", "aria-label": label }, rows.map(bar));
}

const RATIOS = ["nu_activation", "nu_reconstruction", "nu_error"];

// Ratios with intervals and limits, on one axis; what lies outside of it stands at its edge with an arrow.
function ratios(latents, latent) {
  const rows = RATIOS.map((name) => latents.column(name)).filter((column) => column && !column.empty(latent));
  if (!rows.length) return null;
  const [width, left, right, step] = [420, 132, 66, 30];
  const [low, high] = [-0.5, 1.5];
  const x = (value) => left + ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (width - left - right);
  const height = rows.length * step + 26;
  const tick = (value) => [
    drawing("line", { class: "xd-grid", x1: x(value), x2: x(value), y1: 4, y2: height - 20 }),
    drawing("text", { class: "xd-muted", x: x(value), y: height - 4, "text-anchor": "middle" }, short(value)),
  ];
  const spoken = [];
  const row = (column, at) => {
    const [value, y] = [column.number(latent), at * step + 20];
    const bound = (end) => latents.column(`${column.name}_${end}`)?.number(latent) ?? NaN;
    const [from, to] = [bound("low"), bound("high")];
    const interval = Number.isNaN(from) || Number.isNaN(to) ? "" : `, 95 % interval ${short(from)} to ${short(to)}`;
    const limit = column.limit === null ? "" : `, limit ${short(column.limit)}`;
    spoken.push(`${column.label} ${short(value)}${interval}${limit}`);
    const outside = value < low ? "‹ " : value > high ? "› " : "";
    return drawing(
      "g",
      {},
      drawing("title", {}, spoken.at(-1)),
      drawing("text", { class: "xd-ink", x: 0, y: y + 4 }, column.label),
      column.limit === null ? null : drawing("line", { class: "limit", x1: x(column.limit), x2: x(column.limit), y1: y - 11, y2: y + 11 }),
      interval ? drawing("line", { class: "xd-whisker", x1: x(from), x2: x(to), y1: y, y2: y, "stroke-width": 1.5 }) : null,
      drawing("circle", { class: "dot", cx: x(value), cy: y, r: 4.5 }),
      drawing("text", { class: "xd-ink", x: width, y: y + 4, "text-anchor": "end" }, outside + short(value)),
    );
  };
  const marks = rows.map(row);
  const facts = { class: "ratios", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken.join("; ") };
  return element(
    "figure",
    {},
    drawing("svg", facts, [-0.5, 0, 0.5, 1, 1.5].map(tick), marks),
    element("figcaption", {}, `ν = β base / β ${latents.tuned}. 0: the base model lacks it; 1: the base model has it just as much. Dashed: the limits of the verdict.`),
  );
}
