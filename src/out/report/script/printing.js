// Paper shows what is folded, and of the latents the first ones in the order on the screen.
function startPrinting(browser) {
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open]):not(.columns)")];
    folded.forEach((details) => (details.open = true));
    if (browser?.latents) printLatents(browser, true);
  });
  addEventListener("afterprint", () => {
    folded.forEach((details) => (details.open = false));
    if (browser?.latents) printLatents(browser, false);
  });
}

function printLatents({ grid, latents, root }, printing) {
  grid.printing = printing;
  grid.draw(true);
  const shown = Math.min(PRINTED, latents.rows.length);
  const note = root.querySelector(".printed");
  note.textContent = `The first ${grouped(shown)} of ${grouped(latents.rows.length)} latents of ${latents.name}.`;
}
