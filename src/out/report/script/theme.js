// Light, dark or as the system has it; the choice is kept where the browser lets a page keep something.
function kept(value) {
  try {
    if (value !== undefined) localStorage.setItem("xd-colours", value);
    return localStorage.getItem("xd-colours");
  } catch {
    return null;
  }
}

function paint(choice) {
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  else delete document.documentElement.dataset.theme;
}

function startTheme() {
  const chooser = document.querySelector("#colours");
  chooser.closest("[hidden]").hidden = false;
  chooser.value = kept() ?? "auto";
  if (chooser.value === "") chooser.value = "auto";
  paint(chooser.value);
  chooser.addEventListener("change", () => {
    kept(chooser.value);
    paint(chooser.value);
  });
}
