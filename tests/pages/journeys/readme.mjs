// The pictures of the README: IRIS_WRITE_DOCS=1 takes them, and every other run looks whether the
// dashboard still looks like that.
//
// Pixels can't be compared, because each machine has fonts of its own and the dates move on. So two
// things are: an outline of the page (what is there, in which order, in which colours and columns),
// and both pictures reduced to a few hundred cells, in which letters are a blur but a missing panel
// or another layout is not.
import { check, equal, journey, open, picture } from "./browser.mjs";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const { TEAM, IMAGES, IRIS_WRITE_DOCS } = process.env;
const WIDTH = 1280;
const HEIGHT = 800;
const MOST_BYTES = 200_000;
const RENEW = "`just pictures` takes the pictures again; look at them";

const COLUMNS = ["cost", "requests", "tokens", "input", "cached", "output", "errors", "median"];
const query = new URLSearchParams([["days", "7"], ["metric", "cost"], ...COLUMNS.map((name) => ["column", name])]);

/** What is seen on the page, without figures and dates. Runs in the page. */
function outline() {
  const lines = [];
  const style = (selector, ...names) => {
    const of = getComputedStyle(document.querySelector(selector));
    lines.push(`${selector}: ${names.map((name) => `${name} ${of[name]}`).join(", ")}`);
  };
  style("body", "backgroundColor", "color", "fontSize");
  style(".panel", "backgroundColor", "borderRadius", "borderColor");
  style("h1", "fontSize", "fontWeight");
  style(".card .figure", "fontSize", "fontWeight");
  style("tbody a", "color");
  for (const rect of document.querySelectorAll(".legend .swatch")) {
    lines.push(`swatch: ${getComputedStyle(rect).backgroundColor}`);
  }
  // How many stand beside each other.
  const row = (selector) => {
    const tops = [...document.querySelectorAll(selector)].map((one) => Math.round(one.getBoundingClientRect().top));
    lines.push(`${selector}: rows of ${[...new Set(tops)].map((top) => tops.filter((one) => one === top).length)}`);
  };
  row(".card");
  const named = "h1, h2, nav.menu a, dt, figcaption, thead th, summary, .filters a, .chart-head a, .legend .name, .tabs a";
  for (const one of document.querySelectorAll(named)) {
    if (!one.checkVisibility()) continue;
    const text = one.textContent.trim().replace(/\s+/g, " ");
    lines.push(`${one.localName}${one.getAttribute("aria-current") ? " (current)" : ""}: ${text}`);
  }
  lines.push(`bars: ${document.querySelectorAll(".chart rect").length > 0}`);
  return lines.join("\n");
}

/** How far apart two pictures are, each reduced to cells of 20 pixels: the mean of all differences, and
 * the share of cells that are another colour. Runs in a blank page. */
async function compare([one, other]) {
  const cells = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const [width, height] = [bitmap.width / 20, bitmap.height / 20];
    const drawing = new OffscreenCanvas(width, height).getContext("2d");
    drawing.imageSmoothingQuality = "high";
    drawing.drawImage(bitmap, 0, 0, width, height);
    return drawing.getImageData(0, 0, width, height).data;
  };
  const [a, b] = [await cells(one), await cells(other)];
  let sum = 0;
  let others = 0;
  for (let at = 0; at < a.length; at += 4) {
    const apart = Math.max(...[0, 1, 2].map((of) => Math.abs(a[at + of] - b[at + of])));
    sum += apart;
    if (apart > 40) others += 1;
  }
  return { mean: sum / (a.length / 4), others: others / (a.length / 4) };
}

await journey(async (context) => {
  const page = await open(context);
  const blank = await context.newPage();
  await page.setViewportSize({ width: WIDTH, height: HEIGHT });
  let found = "";
  for (const theme of ["light", "dark"]) {
    const path = join(IMAGES, `overview-${theme}.png`);
    await page.emulateMedia({ colorScheme: theme });
    await page.goto(`${TEAM}/ui/overview?${query}`, { waitUntil: "networkidle" });
    found += `${theme}\n\n${await page.evaluate(outline)}\n\n`;
    const seen = await page.screenshot();
    if (IRIS_WRITE_DOCS) {
      writeFileSync(path, seen);
    }
    const stored = readFileSync(path);
    equal(`${stored.readUInt32BE(16)}×${stored.readUInt32BE(20)}`, `${WIDTH}×${HEIGHT}`, path);
    check(stored.length < MOST_BYTES, `${path} has ${stored.length} bytes, and readers wait for it`);
    const { mean, others } = await blank.evaluate(compare, [seen, stored].map((one) => one.toString("base64")));
    console.log(`  ${theme}: mean difference ${mean.toFixed(2)} of 255, ${(others * 100).toFixed(2)} % of the cells are other ones`);
    // Another font makes up to 2.9 and 0.5 %, a card in a second row 25 and 14 %, a menu less 18 and 10 %.
    if (mean > 4.5 || others > 0.02) {
      await picture(page, `readme-${theme}`);
      check(false, `${path} does not show the overview as it is now (target/pages/readme-${theme}.png). ${RENEW}`);
    }
  }
  const path = join(IMAGES, "overview.txt");
  if (IRIS_WRITE_DOCS) writeFileSync(path, found);
  const wanted = readFileSync(path, "utf8").split("\n");
  const differs = found.split("\n").findIndex((line, nth) => line !== wanted[nth]);
  if (differs >= 0) {
    check(false, `the overview is not what ${path} says in line ${differs + 1}: ${JSON.stringify(found.split("\n")[differs])} is not ${JSON.stringify(wanted[differs])}. ${RENEW}`);
  }
});
