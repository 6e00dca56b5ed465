// Tables of the page: a click on a column's name sorts by it, empty cells last; a box keeps the rows that hold all its words.
function sortTable(table, heads, column) {
  const down = heads[column].getAttribute("aria-sort") === "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const numeric = heads[column].classList.contains("number");
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = numeric ? x - y : x.localeCompare(y, "en", { numeric: true });
    return down ? -order : order;
  });
  body.append(...rows);
}

function filterTable(table, text, status) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...table.tBodies[0].rows];
  let shown = 0;
  for (const row of rows) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    if (!row.hidden) shown += 1;
  }
  status.textContent = words.length ? `${grouped(shown)} of ${grouped(rows.length)} rows` : "";
}

function startTables() {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button")?.addEventListener("click", () => sortTable(table, heads, column));
    });
  }
  for (const bar of document.querySelectorAll(".table-filter")) {
    const table = document.getElementById(bar.dataset.table);
    const [input, status] = [bar.querySelector("input"), bar.querySelector("[role=status]")];
    bar.hidden = false;
    input.addEventListener("input", () => filterTable(table, input.value, status));
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || input.value === "") return;
      input.value = "";
      filterTable(table, "", status);
    });
  }
}
