import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

// Each flow is told by name, what the reader does, and the browser's options.
export const flows = [
  ["register", register],
  ["refused", refused],
  ["saved-query", savedQuery],
  ["own-query", ownQuery],
  ["download", download],
  ["status", status],
  ["language", language],
  ["without-script", withoutScript, { javaScriptEnabled: false }],
  ["phone", phone, { viewport: { width: 375, height: 800 }, hasTouch: true, isMobile: true }],
];

const form = "/forms/videogames";

async function fillGame(v, title) {
  const { page } = v;
  await page.locator("input[name=title]").fill(title);
  await page.locator("input[name=developer]").fill("N/A");
  await page.locator("select[name=genre]").selectOption({ index: 9 });
  await page.locator("input[name=year]").fill("1987");
  await page.locator("input[name=competitive]").first().check();
}

const submit = (v) => v.page.getByRole("button", { name: v.t("Registrar", "Register"), exact: true }).click();

async function register(v) {
  const { page } = v;
  await page.goto(form);
  await v.check("form");
  const title = `Última <b>Fantasía</b> "${v.lang}" ñ 龍`;
  await fillGame(v, title);
  await submit(v);
  await page.getByText(title, { exact: true }).waitFor();
  assert.match(new URL(page.url()).pathname, /^\/forms\/videogames\/.+/);
  await v.check("registered");
  const here = page.url();
  await page.getByRole("link", { name: v.t("Verlo en la consulta", "See it in the query page") }).click();
  const cell = page.getByRole("cell", { name: title, exact: true });
  for (const deadline = Date.now() + 15_000; (await cell.count()) === 0 && Date.now() < deadline; ) {
    await page.waitForTimeout(250); // the lake makes a file a second
    await page.reload();
  }
  assert.equal(await cell.count(), 1, "the row that SQL sees");
  await v.check("row");
  await page.goto(here);
  await page.getByText(title, { exact: true }).waitFor();
}

async function refused(v) {
  const { page } = v;
  await page.goto(form);
  await fillGame(v, "Kept when refused");
  await page.locator("input[name=year]").evaluate((input) => input.setAttribute("type", "text"));
  await page.locator("input[name=year]").fill("N/A");
  await page.locator("input[name=developer]").fill("   ");
  await submit(v);
  const summary = page.locator(".summary");
  await summary.waitFor();
  assert.ok(await summary.evaluate((node) => node === document.activeElement), "the summary has the focus");
  assert.equal(await page.locator("input[name=title]").inputValue(), "Kept when refused");
  assert.equal(await page.locator("input[name=year]").getAttribute("aria-invalid"), "true");
  assert.equal(await page.locator("input[name=developer]").getAttribute("aria-invalid"), "true");
  assert.equal(await page.locator("input[name=title]").getAttribute("aria-invalid"), null);
  assert.equal(await page.locator("input[name=competitive]").first().isChecked(), true);
  assert.equal(await summary.getByRole("link").count(), 2, "a link to each field at fault");
  await v.check("summary");
  await summary.getByRole("link").last().click();
  const focused = await page.evaluate(() => document.activeElement.getAttribute("name"));
  assert.equal(focused, "year", "the field that the last link leads to");
  await page.locator("input[name=year]").fill("1987");
  await page.locator("input[name=developer]").fill("Square");
  await submit(v);
  await page.getByText("Kept when refused", { exact: true }).waitFor();
}

async function savedQuery(v) {
  const { page } = v;
  await page.goto("/query");
  await v.check("empty");
  const titles = [
    [v.t("Juegos por género", "Games by genre"), "rect.bar"],
    [v.t("Juegos por año", "Games by year"), "circle.dot"],
    [v.t("Juegos por compañía", "Games by developer"), "rect.bar"],
    [v.t("Juegos competitivos por año", "Competitive games a year"), "path.line"],
    [v.t("Los últimos registrados", "Newest registrations"), ""],
    [v.t("Cuántos juegos hay", "How many games there are"), ""],
  ];
  for (const [title, mark] of titles) {
    await page.getByRole("link", { name: title, exact: true }).click();
    await page.locator(".query-side a[aria-current=page]").filter({ hasText: title }).waitFor();
    await page.locator("table").waitFor();
    assert.equal(await page.locator(".query-side a[aria-current=page]").innerText(), title);
    assert.ok((await page.locator("tbody tr").count()) > 0, `${title} gives rows`);
    assert.equal((await page.locator("svg.plot").count()) > 0, mark !== "", `${title} has a plot`);
    if (mark) {
      assert.ok((await page.locator(`svg.plot ${mark}`).count()) > 0, `${title} draws ${mark}`);
      assert.ok(await page.getByRole("img", { name: / (por|by) / }).isVisible(), "the plot has a name");
    }
    await v.check(await page.locator(".query-side a[aria-current=page]").getAttribute("href").then((h) => h.split("=").pop()));
  }
}

async function ownQuery(v) {
  const { page } = v;
  await page.goto("/query");
  const editor = page.getByLabel(v.t("Consulta SQL", "SQL query"), { exact: true });
  await editor.fill("SELECT decade, count(*) AS games\nFROM videogames_latest GROUP BY 1 ORDER BY 1");
  await editor.press("Control+Enter");
  await page.locator("table").waitFor();
  await page.getByLabel(v.t("Mostrar como", "Show as")).selectOption("line");
  await page.getByRole("button", { name: v.t("Dibujar", "Draw"), exact: true }).click();
  await page.locator("svg.plot path.line").waitFor();
  await page.getByRole("link", { name: v.t("Enlace a esta consulta", "Link to this query") }).click();
  await page.locator("svg.plot path.line").waitFor();
  await page.locator(".tables summary").first().click();
  await v.check("line");

  await editor.fill("SELECT title,\n  nope FROM videogames_latest");
  await page.getByRole("button", { name: v.t("Ejecutar", "Run"), exact: true }).click();
  const failure = page.getByRole("alert");
  await failure.waitFor();
  assert.ok(await failure.evaluate((node) => node === document.activeElement), "the error has the focus");
  assert.match(await failure.locator("pre").innerText(), /LINE 2: {3}nope FROM videogames_latest\n +\^/);
  assert.match(await editor.inputValue(), /nope/);
  await v.check("error");

  await editor.fill("DROP VIEW videogames_latest");
  await page.getByRole("button", { name: v.t("Ejecutar", "Run"), exact: true }).click();
  await failure.getByText("ACQ-QUERY-003").waitFor();
}

async function download(v) {
  const { page } = v;
  await page.goto("/query?saved=games-by-genre");
  const shown = await page.locator("tbody tr").count();
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: v.t("Descargar CSV", "Download CSV") }).click(),
  ]);
  assert.match(file.suggestedFilename(), /\.csv$/);
  const lines = (await readFile(await file.path(), "utf8")).trimEnd().split(/\r?\n/);
  assert.equal(lines[0], "genre,games");
  assert.ok(lines.length - 1 >= shown && shown > 0, `${lines.length - 1} lines for ${shown} rows`);
}

async function status(v) {
  const { page } = v;
  await page.goto("/status");
  await page.getByText(v.t("Todos los canales funcionan.", "All pipelines are well.")).waitFor();
  assert.ok((await page.locator(".pipeline").count()) >= 2, "both pipelines");
  assert.ok((await page.getByText(/\.parquet/).count()) > 0, "the last file");
  await v.check("well");
  const before = await page.locator("#status-time").innerText();
  await page.waitForFunction((text) => document.getElementById("status-time").innerText !== text, before);
  const pause = page.getByRole("button", { name: v.t("Pausar la actualización", "Pause updates") });
  await pause.click();
  assert.equal(await pause.getAttribute("aria-pressed"), "true");
}

async function language(v) {
  const { page } = v;
  const [other, name] = v.lang === "es" ? ["en", "English"] : ["es", "Español"];
  await page.goto("/query?saved=games-by-year");
  await page.getByRole("link", { name, exact: true }).click();
  await page.locator(`html[lang=${other}]`).waitFor({ state: "attached" });
  assert.ok((await page.locator("svg.plot").count()) === 1, "the switch keeps the query");
  await page.goto(form);
  assert.equal(await page.locator("html").getAttribute("lang"), other, "the choice is kept");
}

async function withoutScript(v) {
  const { page } = v;
  await page.goto(form);
  await fillGame(v, `No script (${v.lang})`);
  await submit(v);
  await page.getByText(`No script (${v.lang})`, { exact: true }).waitFor();
  await page.goto("/query");
  await page.getByLabel(v.t("Consulta SQL", "SQL query"), { exact: true }).fill("SELECT 6 * 7 AS answer");
  await page.getByRole("button", { name: v.t("Ejecutar", "Run"), exact: true }).click();
  await page.getByRole("cell", { name: "42", exact: true }).waitFor();
  await page.getByRole("link", { name: v.t("Juegos por género", "Games by genre"), exact: true }).click();
  await page.locator("svg.plot rect.bar").first().waitFor(); // a click does not wait for the page that it asks for
  await page.goto("/status");
  assert.equal(await page.locator("noscript meta[http-equiv=refresh], meta[http-equiv=refresh]").count(), 1);
  assert.ok(await page.getByRole("button", { name: v.t("Pausar la actualización", "Pause updates") }).isHidden());
  await v.shot("status");
}

async function phone(v) {
  const { page } = v;
  await page.goto(form);
  await v.check("form");
  await page.goto("/query?saved=games-by-genre");
  await v.check("query");
  await page.goto("/status");
  await v.check("status");
}
