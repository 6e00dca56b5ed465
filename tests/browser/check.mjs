// node check.mjs LARGE.html REAL.html FOLDER: opens both pages in a headless Chromium, uses them as readers do, and leaves
// screenshots in the folder. LARGE is made by tests/engine/browser.rs. $CHROMIUM is the browser's path.
import assert from "node:assert/strict";
import { statSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [large, real, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const COUNT = 73_728;

// Milliseconds that one action may take, with room for slow machines; what it took is printed.
const LIMITS = { "unpack and draw": 8000, sort: 2500, "first search in texts": 4000, filter: 1500, "scroll and draw": 300 };

const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
let checks = 0;

function holds(condition, what) {
  assert.ok(condition, what);
  checks += 1;
}

function equal(found, expected, what) {
  assert.deepEqual(found, expected, what);
  checks += 1;
}

function timed(what, milliseconds) {
  console.log(`  ${what}: ${milliseconds.toFixed(0)} ms`);
  holds(milliseconds < LIMITS[what], `${what} took ${milliseconds.toFixed(0)} ms`);
}

async function opened(path, { width = 1280, scheme = "light", hash = "" } = {}) {
  const page = await browser.newPage();
  const problems = [];
  page.on("console", (message) => /error|warn/.test(message.type()) && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.stack ?? String(error)));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("data:font/") && url.split("#")[0] !== pathToFileURL(path).href) problems.push(`asked for ${url.slice(0, 200)}`);
  });
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const start = performance.now();
  await page.goto(pathToFileURL(path).href + hash);
  await page.waitForFunction(() => document.querySelector("#latents .rows tr[data-latent]"));
  page.took = performance.now() - start;
  page.problems = problems;
  return page;
}

const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });
const listed = (page, name) => page.$$eval("#latents .rows tr[data-latent]", (rows, name) => {
  const heads = [...document.querySelectorAll("#latents thead th")].map((head) => head.textContent);
  const at = heads.indexOf(name);
  return rows.map((row) => row.cells[at].textContent);
}, name);
const status = (page) => page.$eval("#latents .status", (element) => element.textContent);
const numbers = (texts) => texts.map((text) => (text === "" ? NaN : Number(text.replace("−", "-"))));
const sortedUp = (list) => list.every((x, at) => at === 0 || list[at - 1] <= x);
const settle = (page) => page.evaluate(() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 200)));

// How long an action takes until the next frame is drawn.
async function time(page, selector, act) {
  return page.evaluate(async (selector, act) => {
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    await frame();
    const start = performance.now();
    new Function("target", act)(document.querySelector(selector));
    await frame();
    return performance.now() - start;
  }, selector, act);
}

const headOf = (page, label) => page.evaluateHandle((label) => [...document.querySelectorAll("#latents thead button")].find((button) => button.textContent === label), label);

async function clickHead(page, label) {
  const head = await headOf(page, label);
  return page.evaluate(async (button) => {
    const start = performance.now();
    button.click();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - start;
  }, head);
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = bad.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} (${node.failureSummary.split("\n").at(-1).trim()})`).join("\n    ")}`);
  equal(told, [], `axe in ${what}`);
}

async function virtualList(page) {
  console.log(`  page: ${(statSync(large).size / 1e6).toFixed(1)} MB`);
  timed("unpack and draw", page.took);
  equal(await status(page), "73,728 latents");
  equal(await page.$eval("#latents table", (table) => table.getAttribute("aria-rowcount")), String(COUNT + 1));
  const inDocument = () => page.$$eval("#latents .rows tr", (rows) => rows.length);
  holds((await inDocument()) < 80, "few rows are in the document");
  const scrolled = await time(page, "#latents .rows", "target.scrollTop = target.scrollHeight / 2");
  timed("scroll and draw", scrolled);
  await settle(page);
  const middle = Number((await listed(page, "latent"))[10]);
  holds(Math.abs(middle - COUNT / 2) < 60, `in the middle of the list stands ${middle}`);
  holds((await inDocument()) < 80, "few rows are in the document after scrolling");
  const labelled = await page.$eval(`#latents tr[data-latent="${middle}"]`, (row) => Number(row.getAttribute("aria-rowindex")));
  equal(labelled, middle + 2, "aria-rowindex counts the head and from 1");
  await page.$eval("#latents .rows", (rows) => (rows.scrollTop = rows.scrollHeight));
  await settle(page);
  equal((await listed(page, "latent")).at(-1), String(COUNT - 1), "the end of the list is the last latent");
}

async function sorting(page) {
  timed("sort", await clickHead(page, "ν error"));
  holds(sortedUp(numbers(await listed(page, "ν error"))), "upwards");
  equal(await page.$eval("#latents th[aria-sort]", (head) => [head.textContent, head.getAttribute("aria-sort")]), ["ν error", "ascending"]);
  const smallest = numbers(await listed(page, "ν error"))[0];
  await clickHead(page, "ν error");
  const down = numbers(await listed(page, "ν error"));
  holds(sortedUp([...down].reverse()) && down[0] > 1.6 && smallest < -0.29, "downwards, from the largest of all");
  await page.$eval("#latents .rows", (rows) => (rows.scrollTop = rows.scrollHeight));
  await settle(page);
  equal((await listed(page, "ν error")).at(-1), "", "empty cells are last");
  // Stable: within a class the order of before stays.
  await clickHead(page, "class");
  const errors = numbers(await listed(page, "ν error"));
  holds((await listed(page, "class")).every((cell) => cell === "base only") && sortedUp([...errors].reverse()), "stable");
  await clickHead(page, "latent");
}

async function filtering(page) {
  const choose = (label, option) => page.evaluate((label, option) => {
    const select = [...document.querySelectorAll("#latents .choices label")].find((l) => l.textContent.startsWith(label)).querySelector("select");
    select.value = [...select.options].find((o) => o.textContent.startsWith(option)).value;
    const start = performance.now();
    select.dispatchEvent(new Event("change"));
    return performance.now() - start;
  }, label, option);
  timed("filter", await choose("class", "chat only"));
  const [some] = (await status(page)).split(" ");
  holds(Number(some.replace(",", "")) > 5000 && Number(some.replace(",", "")) < 9000, `${some} latents are chat only`);
  holds((await listed(page, "class")).every((cell) => cell === "chat only"), "only that class");
  await choose("verdict", "specific");
  holds((await listed(page, "verdict")).every((cell) => cell === "specific"), "only that verdict");
  await page.select("#latents .range select", "delta_norm");
  await page.type("#latents .range input[name=low]", "0.99");
  await page.click("#latents .range button");
  holds(numbers(await listed(page, "Δnorm")).every((x) => x >= 0.99), "only that range");
  equal(await page.$eval("#latents .ranges", (list) => list.textContent), "Δnorm ≥ 0.99 ×remove");
  await shot(page, "filtered");
  await page.click("#latents .clear");
  equal(await status(page), "73,728 latents", "all again");
}

async function searching(page) {
  await page.keyboard.press("Escape");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("/");
  equal(await page.evaluate(() => document.activeElement.id), "latent-search", "/ goes to the search");
  const first = await page.evaluate(() => {
    const input = document.querySelector("#latent-search");
    input.value = "Peak105";
    const start = performance.now();
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    return performance.now() - start;
  });
  timed("first search in texts", first);
  const shown = await listed(page, "latent");
  holds(shown.includes("105") && shown.every((latent) => latent.startsWith("105")), `texts that hold Peak105: ${shown.slice(0, 5)}`);
  await page.keyboard.press("Escape");
  await page.click("#latents .clear");
  await page.type("#latent-search", "7372");
  await settle(page);
  const found = await listed(page, "latent");
  equal(found.slice(0, 4), ["7372", "73720", "73721", "73722"], "numbers that begin so");
  equal(await status(page), "9 of 73,728 latents");
  await page.keyboard.press("Enter");
  equal(await page.$eval(".card h3", (head) => head.textContent), "Latent 7372");
  await page.keyboard.press("Escape");
  await page.click("#latents .clear");
  await page.type("#latent-search", "no text says this");
  await settle(page);
  holds(await page.$eval("#latents .nothing", (element) => !element.hidden), "says that nothing passes");
  await page.click("#latents .clear");
}

async function keyboard(page) {
  const here = () => page.$eval("#latents tr.here", (row) => Number(row.dataset.latent));
  await page.focus("#latents table");
  await page.keyboard.press("Home");
  equal(await here(), 0);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  equal(await here(), 2);
  const pointed = await page.$eval("#latents table", (table) => document.getElementById(table.getAttribute("aria-activedescendant"))?.parentElement.dataset.latent);
  equal(pointed, "2", "aria-activedescendant is a cell of that row");
  await page.keyboard.press("PageDown");
  holds((await here()) > 10, "a page down");
  await page.keyboard.press("End");
  equal(await here(), COUNT - 1);
  await page.keyboard.press("PageUp");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  equal(await page.$eval("#latents th[aria-sort]", (head) => head.textContent), "class", "Enter in the head sorts");
  await clickHead(page, "latent");
  await page.focus("#latents table");
  await page.keyboard.press("Home");
  for (let times = 0; times < 5; times += 1) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  equal(await page.$eval(".card h3", (head) => head.textContent), "Latent 5");
  await page.keyboard.press("ArrowDown");
  equal(await page.$eval(".card h3", (head) => head.textContent), "Latent 6", "the card follows the list");
  await page.keyboard.press("Enter");
  equal(await page.evaluate(() => document.activeElement.textContent), "Latent 6", "Enter once more goes into the card");
  await page.keyboard.press("Escape");
  holds(await page.$eval(".card", (card) => card.hidden), "Escape closes the card");
  equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "grid", "and goes back to the list");
}

async function card(page) {
  await page.evaluate(() => (location.hash = "#latent=cc[loss%20%3D%20l1]/30"));
  await page.waitForFunction(() => document.querySelector(".card h3")?.textContent === "Latent 30");
  const text = await page.$eval(".card", (card) => card.innerText);
  for (const part of ["Decoder norms", "Latent Scaling", "Where it fires", "Twin", "Examples", "Steering", "Every number", "75 to 100 % of its largest activation", "In other crosscoders"]) holds(text.includes(part), `the card has ${part}`);
  const peaks = await page.$$eval(".card .token.peak", (tokens) => tokens.map((token) => [token.textContent, token.className.includes("s9"), token.title.startsWith("activation ")]));
  holds(peaks.length >= 3 && peaks.every(([token, , titled]) => token === " peak30" && titled) && peaks[0][1], "peaks are marked and told");
  await shot(page, "card");
  const covered = await page.$eval(".card", (card) => {
    card.scrollTop += card.querySelector("thead").getBoundingClientRect().top - card.getBoundingClientRect().top;
    const { left, top } = card.querySelector("h3").getBoundingClientRect();
    return document.elementFromPoint(left + 20, top + 8).tagName;
  });
  equal(covered, "H3", "the head of a table in the card does not cover the head of the card");
  await page.$eval(".card .texts", (texts) => texts.scrollIntoView());
  await shot(page, "card-examples");
  await page.$eval(".card .steering", (steering) => steering.scrollIntoView());
  await shot(page, "card-steering");
  const outside = () => page.$$eval(".card .token.outside", (tokens) => tokens.filter((token) => token.offsetParent !== null).length);
  equal(await outside(), 0, "texts are cut around the peak");
  await page.click(".card .toggles input");
  holds((await outside()) > 0, "and shown whole when asked");
  await page.evaluate(() => [...document.querySelectorAll(".card a")].find((link) => link.textContent === "latent 31").click());
  await page.waitForFunction(() => document.querySelector(".card h3").textContent === "Latent 31");
  equal(decodeURIComponent(await page.evaluate(() => location.hash)), "#latent=cc[loss = l1]/31", "the twin is a link");
  const left = await page.$eval(".left-out", (note) => note.textContent);
  holds(/of 60,000 examples are in this page.*examples\.parquet/.test(left), left);
}

async function other(page) {
  await page.select("#crosscoder", "cc[loss = batch_topk, train.seed = 1]");
  await page.waitForFunction(() => document.querySelector("#latents .status").textContent === "7 latents");
  equal(await page.$$eval("#latents .choices select", (all) => all.length), 0, "what says the same of all is no choice");
  await page.type("#latent-search", "number 3");
  await settle(page);
  equal(await listed(page, "latent"), ["3"], "explanations are searched");
  const hashed = await opened(large, { hash: "#latent=cc[loss = batch_topk, train.seed = 1]/5" });
  await hashed.waitForFunction(() => document.querySelector(".card h3")?.textContent === "Latent 5");
  equal(hashed.problems, []);
  await hashed.close();
}

async function printed(page, name) {
  const pdf = await page.pdf({ path: join(folder, `${name}.pdf`), format: "A4", printBackground: true });
  holds(pdf.length > 20_000 && Buffer.from(pdf.subarray(0, 5)).toString() === "%PDF-", "prints");
  await page.emulateMediaType("print");
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  const rows = await page.$$eval("#latents .rows tr[data-latent]", (rows) => rows.length);
  holds(rows <= 60 && rows > 0, `${rows} latents on paper`);
  equal(await page.$$eval("nav, .bar", (controls) => controls.filter((element) => element.offsetParent !== null).length), 0, "no controls on paper");
  const ink = await page.evaluate(() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]);
  equal(ink[0], "rgb(255, 255, 255)", "paper is white");
  await page.emulateMediaType("screen");
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
}

const largeAccessible = (page) => accessible(page, "the large page");
const largePrinted = (page) => printed(page, "large");

async function realPage(scheme) {
  const page = await opened(real, { scheme });
  await page.screenshot({ path: join(folder, `real-${scheme}.png`), fullPage: true });
  await accessible(page, `the real page, ${scheme}`);
  await page.evaluate(() => document.querySelector("#latents tr[data-latent] td").click());
  holds(await page.$eval(".card", (card) => !card.hidden && ["Decoder norms", "Latent Scaling", "In other crosscoders"].every((part) => card.innerText.includes(part))), "the card of a real latent");
  await accessible(page, `the real page with a card, ${scheme}`);
  await realTexts(page, scheme);
  await tableOf(page);
  await colours(page, scheme);
  if (scheme === "dark") await printed(page, "real");
  equal(page.problems, []);
  await page.close();
}

// What the steps of a run found is on its page: shaded texts, token groups and steering, each with the step that says it.
async function realTexts(page, scheme) {
  await page.keyboard.press("Escape");
  await clickHead(page, "largest activation");
  await clickHead(page, "largest activation");
  await page.evaluate(() => document.querySelector("#latents tr[data-latent] td").click());
  const levels = await page.$$eval(".card .texts .token.peak", (tokens) => tokens.map((token) => token.className));
  holds(levels.length >= 2 && levels.every((name) => /\bs\d\b/.test(name)), `${levels.length} texts of a real latent are shaded`);
  const shaded = await page.$$eval(".card .texts .token[data-a]", (tokens) => new Set(tokens.map((token) => getComputedStyle(token).backgroundColor)).size);
  holds(shaded >= 2, `${shaded} shades of tokens`);
  const texts = await page.$eval(".card .texts", (part) => part.textContent);
  for (const step of ["shown[", "talked["]) holds(texts.includes(step), `the texts of ${step}`);
  holds(/talked\[[^\]]*\](0 to 50|50 to 100) % of its largest activation/.test(texts), "the bins of the second step are its own");
  const said = await page.$eval(".card .steering", (part) => part.textContent);
  for (const part of ["hello there", "without it", "strength 2", "base_voice[", "voice["]) holds(said.includes(part), `steering says ${part}`);
  const card = await page.$eval(".card", (card) => card.innerText);
  for (const part of ["where_it_fires[", "in_talk[", "user", "assistant"]) holds(card.includes(part), `token groups say ${part}`);
  await page.$eval(".card .texts", (texts) => texts.scrollIntoView());
  await shot(page, `real-texts-${scheme}`);
  await accessible(page, `a real latent with texts, ${scheme}`);
  const files = await page.$eval(".left-out", (note) => [note.hidden, note.textContent]);
  holds(!files[0] && files[1].includes("examples.parquet"), "the files of examples are listed");
  await page.keyboard.press("Escape");
  await clickHead(page, "latent");
}

async function tableOf(page) {
  const rows = () => page.$$eval("#rows-all tbody tr", (rows) => rows.filter((row) => !row.hidden).map((row) => row.textContent));
  await page.type(".table-filter[data-table=rows-all] input", "l1 shared");
  const shown = await rows();
  holds(shown.length < 128 && shown.every((row) => row.includes("shared")), `${shown.length} rows of the table pass`);
  await page.keyboard.press("Escape");
  equal((await rows()).length, 128);
  await page.$eval("#rows-all th.number button", (button) => button.click());
  const sorted = await page.$$eval("#rows-all tbody tr", (rows) => rows.map((row) => Number(row.cells[1].dataset.sort)));
  holds(sortedUp(sorted), "the table sorts");
  await page.$eval("#rows-all tbody tr:nth-child(5) a", (link) => link.click());
  await page.waitForFunction(() => document.querySelector(".card h3")?.textContent === "Latent 2");
  holds((await page.evaluate(() => decodeURIComponent(location.hash))).startsWith("#latent=cc[loss = "), "a latent of a table is a link");
}

async function colours(page, scheme) {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const of = { light: "rgb(255, 255, 255)", dark: "rgb(20, 23, 27)" };
  equal(await background(), of[scheme], "as the system");
  const opposite = scheme === "light" ? "dark" : "light";
  await page.select("#colours", opposite);
  equal(await background(), of[opposite], "as chosen");
  await page.select("#colours", "auto");
}

try {
  const page = await opened(large);
  for (const part of [virtualList, sorting, filtering, searching, keyboard, card, largeAccessible, largePrinted, other]) {
    const start = performance.now();
    await part(page);
    console.log(`${part.name}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
  equal(page.problems, []);
  await page.close();
  await realPage("light");
  await realPage("dark");
  for (const scheme of ["light", "dark"]) {
    const narrow = await opened(large, { width: 420, scheme, hash: "#latent=cc[loss = l1]/30" });
    await narrow.waitForFunction(() => document.querySelector(".card h3")?.textContent === "Latent 30");
    await narrow.$eval("#latents", (section) => section.scrollIntoView());
    await shot(narrow, `narrow-${scheme}`);
    await narrow.$eval(".card .texts", (texts) => texts.scrollIntoView());
    await shot(narrow, `narrow-examples-${scheme}`);
    const wide = await narrow.evaluate(() => document.documentElement.scrollWidth);
    holds(wide <= 420, `a narrow page is ${wide} pixels wide`);
    await accessible(narrow, `the narrow page, ${scheme}`);
    equal(narrow.problems, []);
    await narrow.close();
  }
  console.log(`${checks} checks in a browser passed; screenshots in ${folder}`);
} finally {
  await browser.close();
}
