import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const axe = createRequire(import.meta.url)("axe-core");

// Visit is one reader with one page in one language, and what a test wants to know of it.
export class Visit {
  constructor(browser, base, output, lang, name) {
    Object.assign(this, { browser, base, output, lang, name, complaints: [] });
  }

  async open(options = {}) {
    this.context = await this.browser.newContext({
      baseURL: this.base,
      locale: this.lang === "es" ? "es-ES" : "en-US",
      viewport: { width: 1200, height: 900 },
      reducedMotion: "reduce",
      ...options,
    });
    this.context.setDefaultTimeout(30_000);
    this.page = await this.context.newPage();
    this.page.on("console", (message) => {
      // A refused form answers 422 and a refused query, too: that is no fault of the page.
      if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) this.complaints.push(message.text());
    });
    this.page.on("pageerror", (error) => this.complaints.push(String(error)));
    this.page.on("requestfailed", (request) => {
      const reason = request.failure()?.errorText ?? "";
      if (!/ERR_ABORTED/.test(reason)) this.complaints.push(`${request.url()}: ${reason}`);
    });
  }

  // t gives the text of this visit's language.
  t(es, en) {
    return this.lang === "es" ? es : en;
  }

  async shot(label) {
    await this.page.screenshot({ path: path.join(this.output, `${this.name}-${label}-${this.lang}.png`), fullPage: true });
  }

  // check finds what axe calls a violation, light and dark, and whether the page is wider than its window.
  async check(label) {
    await this.page.locator("[data-running]").waitFor({ state: "detached" }); // until then the page loads itself again
    assert.equal(await this.page.locator("html").getAttribute("lang"), this.lang, "the language of the page");
    for (const colorScheme of ["light", "dark"]) {
      await this.page.emulateMedia({ colorScheme });
      await this.page.evaluate(axe.source); // the content security policy would refuse a script tag
      const found = await this.page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      await this.shot(`${label}-${colorScheme}`);
      assert.ok(found.passes.length > 10, "axe looked at the page");
      const told = found.violations.map((v) => `${v.id}: ${v.help}\n  ${v.nodes.map((n) => n.html + " " + n.failureSummary).join("\n  ")}`);
      assert.equal(told.join("\n"), "", `axe, ${label}, ${colorScheme}`);
    }
    await this.page.emulateMedia({ colorScheme: "light" });
    const wide = await this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} pixels wider than its window`);
  }

  // checkConsole fails when the browser complained, be it of a script, a refused load or the security policy.
  checkConsole() {
    assert.deepEqual(this.complaints, [], "the browser's complaints");
  }

  async close() {
    await this.context?.close();
  }
}
