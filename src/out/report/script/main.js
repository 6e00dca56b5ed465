startTheme();
startTables();
const latentSection = document.querySelector("#latents");
const browser = latentSection && new Browser(latentSection);
startPrinting(browser);
browser?.start();
