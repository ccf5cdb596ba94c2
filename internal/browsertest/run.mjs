// Drives the running program at the address given, and prints one JSON line a flow: {"flow", "ms", "error"}.
// usage: node run.mjs URL OUTPUT-FOLDER
import { chromium } from "playwright-core";
import { Visit } from "./visit.mjs";
import { flows } from "./flows.mjs";

const [base, output] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

async function read(lang) {
  for (const [name, flow, options] of flows) {
    const visit = new Visit(browser, base, output, lang, name);
    const start = Date.now();
    let error = "";
    try {
      await visit.open(options);
      await flow(visit);
      visit.checkConsole();
    } catch (failure) {
      error = failure.stack || String(failure);
      await visit.shot("failed").catch(() => {});
    } finally {
      await visit.close();
    }
    console.log(JSON.stringify({ flow: `${name}/${lang}`, ms: Date.now() - start, error }));
  }
}
await Promise.all([read("es"), read("en")]);
await browser.close();
