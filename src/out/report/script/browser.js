// The browser of latents: a crosscoder, a filtered and sorted list, and the card of one latent.
function address(name, latent) {
  return `#latent=${encodeURIComponent(name)}/${latent}`;
}

// `#latent=cc[loss = l1]/123`, with or without percent signs; null for anything else.
function addressed() {
  const match = /^#latent=(.*)\/(\d+)$/.exec(location.hash);
  if (!match) return null;
  try {
    return { name: decodeURIComponent(match[1]), latent: Number(match[2]) };
  } catch {
    return null;
  }
}

class Browser {
  constructor(root) {
    this.root = root;
    this.packed = [...root.querySelectorAll("script[data-name]")];
    this.unpacked = new Map();
    this.chooser = root.querySelector("#crosscoder");
    this.status = root.querySelector(".status");
    this.message = root.querySelector(".message");
    this.body = root.querySelector(".body");
    this.card = root.querySelector(".card");
    this.leftOut = root.querySelector(".left-out");
    const sort = (column) => this.sort(column);
    const [open, close] = [(latent, focus) => this.open(latent, focus), () => this.close()];
    this.grid = new Grid(root.querySelector("table"), { open, close, sort });
    this.filters = new Filters(root.querySelector(".bar"), (columns) => this.changed(columns));
    this.chooser?.addEventListener("change", () => this.choose(this.chooser.value));
    this.card.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.filters.search.addEventListener("keydown", (event) => this.searchKey(event));
    addEventListener("hashchange", () => this.follow());
    addEventListener("keydown", (event) => this.slash(event));
  }

  async start() {
    const target = addressed();
    const known = target && this.packed.some((script) => script.dataset.name === target.name);
    await this.choose(known ? target.name : this.packed[0].dataset.name);
    if (known) this.follow();
  }

  // Unpacks the latents of a crosscoder, once, and shows them.
  async choose(name) {
    this.close(false);
    if (this.chooser) this.chooser.value = name;
    const script = this.packed.find((script) => script.dataset.name === name);
    try {
      if (!this.unpacked.has(name)) this.unpacked.set(name, new Latents(await unpack(script.textContent)));
    } catch (error) {
      this.message.textContent = `The latents cannot be shown: ${error.message}. They are in the files rows.csv of the folder artifacts.`;
      this.message.hidden = false;
      return;
    }
    this.latents = this.unpacked.get(name);
    this.message.hidden = true;
    this.body.hidden = false;
    this.filters.show(this.latents);
    this.grid.scroller.scrollTop = 0;
    this.grid.row = 0;
    this.changed(true);
    this.tellWhatIsLeftOut();
  }

  changed(columns = false) {
    this.latents.select();
    if (columns) this.grid.show(this.latents, this.latents.columns.filter((column) => column.main));
    else {
      this.grid.scroller.scrollTop = 0;
      this.grid.row = 0;
      this.grid.refresh();
    }
    this.tell();
  }

  tell() {
    const { rows, count } = this.latents;
    const all = rows.length === count;
    this.status.textContent = all ? `${grouped(count)} latents` : `${grouped(rows.length)} of ${grouped(count)} latents`;
    this.root.querySelector(".clear").hidden = all && !this.filters.search.value;
    this.root.querySelector(".nothing").hidden = rows.length > 0;
  }

  tellWhatIsLeftOut() {
    const { examples, steering, steering_total, files, left_out, groups_left_out } = this.latents;
    const texts = [];
    if (left_out.length) texts.push(`Not in this page for its size, but in the files rows.csv of the folder artifacts: ${left_out.join(", ")}.`);
    if (groups_left_out) texts.push(`Not in this page for its size: where latents fire in ${groups_left_out} groups of tokens.`);
    if (examples.shown < examples.total) texts.push(`${grouped(examples.shown)} of ${grouped(examples.total)} examples are in this page.`);
    if (steering.length < steering_total) texts.push(`${grouped(steering.length)} of ${grouped(steering_total)} steering samples are in this page.`);
    const links = files.flatMap((file, at) => [at ? ", " : " Files: ", element("a", { href: file.split("/").map(encodeURIComponent).join("/") }, file)]);
    this.leftOut.replaceChildren(texts.join(" "), ...links);
    this.leftOut.hidden = !texts.length && !links.length;
  }

  // A click sorts upwards, the next one downwards.
  sort(column) {
    const { sort } = this.latents;
    this.latents.sortBy(column, sort.column === column && !sort.down);
    const used = this.grid.table.contains(document.activeElement);
    this.grid.scroller.scrollTop = 0;
    this.grid.row = Math.min(this.grid.row, 0);
    this.grid.show(this.latents, this.grid.columns);
    if (used) this.grid.table.focus({ preventScroll: true });
    this.status.textContent = `${this.status.textContent.split(", sorted")[0]}, sorted by ${column.label} ${this.latents.sort.down ? "downwards" : "upwards"}`;
  }

  // `focus`: "list" stays in the list; "entered" does so the first time, where the card stands beside it; "card" goes to the card.
  open(latent, focus) {
    const again = this.latents.opened === latent;
    this.latents.opened = latent;
    const step = (by) => this.step(by);
    this.card.replaceChildren(...cardOf(this.latents, latent, { step, close: () => this.close() }));
    this.card.hidden = false;
    this.card.scrollTop = 0;
    this.root.classList.add("opened");
    this.grid.mark(latent);
    history.replaceState(null, "", address(this.latents.name, latent));
    const below = getComputedStyle(this.body).display !== "grid";
    if (focus === "card" || (focus === "entered" && (below || again))) {
      this.card.querySelector("h3").focus({ preventScroll: true });
      if (below) this.card.scrollIntoView({ block: "start" });
    }
  }

  // The latent before or after the open one in the list.
  step(by) {
    const at = this.latents.rows.indexOf(this.latents.opened);
    const next = this.latents.rows[at < 0 ? 0 : at + by];
    if (next === undefined) return;
    this.grid.find(next);
    this.open(next, "list");
    this.card.querySelectorAll(".tools button")[by < 0 ? 0 : 1].focus();
  }

  close(focus = true) {
    if (this.card.hidden) return;
    this.card.hidden = true;
    this.root.classList.remove("opened");
    this.latents.opened = null;
    this.grid.mark(null);
    history.replaceState(null, "", location.pathname + location.search);
    if (focus) this.grid.table.focus({ preventScroll: true });
  }

  // Goes where the address of the page points.
  async follow() {
    const target = addressed();
    if (!target || !this.packed.some((script) => script.dataset.name === target.name)) return;
    if (target.name !== this.latents?.name) await this.choose(target.name);
    if (!this.latents || target.latent >= this.latents.count) return;
    if (!this.latents.rows.includes(target.latent)) this.filters.clear();
    this.grid.find(target.latent);
    this.root.scrollIntoView();
    this.open(target.latent, "card");
  }

  searchKey(event) {
    if (event.key === "Escape") {
      this.filters.search.value = "";
      this.filters.searched();
    }
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.grid.table.focus();
    }
    if (event.key !== "Enter") return;
    event.preventDefault();
    this.filters.searched();
    const text = this.filters.search.value.trim();
    const exact = /^\d+$/.test(text) && this.latents.rows.includes(Number(text)) ? Number(text) : this.latents.rows[0];
    if (exact === undefined) return;
    this.grid.find(exact);
    this.open(exact, "card");
  }

  slash(event) {
    const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.root.scrollIntoView();
    this.filters.search.focus();
  }
}
