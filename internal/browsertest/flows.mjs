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
  ["letters", letters],
  ["letters-bulk", lettersBulk],
  ["letters-phone", lettersPhone, { viewport: { width: 375, height: 800 }, hasTouch: true, isMobile: true }],
  ["letters-without-script", lettersWithoutScript, { javaScriptEnabled: false }],
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

// Each language has dead letters of its own; these are the ones that fit its filter.
const ownLetters = (v) => `/deadletters?text=Puzzel+${v.lang}`;

async function mend(v) {
  const { page } = v;
  const editor = page.getByLabel(v.t("Registro (JSON)", "Record (JSON)"));
  const record = JSON.parse(await editor.inputValue());
  assert.match(record.genre, /^Puzzel/);
  await editor.fill(JSON.stringify({ ...record, genre: "Puzzle" }, null, 2));
  await page.getByRole("button", { name: v.t("Ver los cambios", "Show changes") }).click();
  await page.locator(".diff tr.changed").waitFor();
  assert.equal(await page.locator(".diff tr.changed").count(), 1, "one field changes");
  assert.match(await page.locator(".diff tr.changed").innerText(), /genre[^]*"Puzzel e.*"[^]*"Puzzle"/);
  return record;
}

// insist presses a button until no other reader's retry is in the way: a pipeline has one at a time. back says that the
// button is then on the page before.
async function insist(v, name, back = true) {
  const { page } = v;
  for (;;) {
    const posted = page.waitForResponse((answer) => answer.request().method() === "POST");
    await page.getByRole("button", { name, exact: true }).click();
    if ((await posted).status() !== 409) return;
    await page.getByText("ACQ-DLQ-003").waitFor();
    if (back) await page.goBack();
  }
}

async function letters(v) {
  const { page } = v;
  await page.goto("/");
  await page.getByRole("link", { name: v.t(/^Cartas muertas \(\d+\)$/, /^Dead letters \(\d+\)$/) }).click();
  await page.locator("#letters").waitFor();
  await v.check("list");
  await page.getByLabel(v.t("Texto", "Text"), { exact: true }).fill(`puzzel ${v.lang}`);
  await page.getByLabel(v.t("Paso", "Step"), { exact: true }).selectOption("canonical");
  await page.getByRole("button", { name: v.t("Filtrar", "Filter"), exact: true }).click();
  await page.getByRole("link", { name: v.t("Quitar el filtro", "Clear the filter") }).waitFor();
  await v.check("filtered");
  await page.locator("#letters tbody tr").first().getByRole("link").click();
  await page.getByLabel(v.t("Registro (JSON)", "Record (JSON)")).waitFor();
  await v.check("letter");
  const here = page.url();

  const editor = page.getByLabel(v.t("Registro (JSON)", "Record (JSON)"));
  await editor.fill('{"title": "half');
  await page.getByRole("button", { name: v.t("Ver los cambios", "Show changes") }).click();
  const failure = page.getByRole("alert");
  await failure.waitFor();
  assert.ok(await failure.evaluate((node) => node === document.activeElement), "the error has the focus");
  assert.equal(await editor.inputValue(), '{"title": "half');
  await v.check("no-record");
  await failure.getByRole("link").click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "record", "the link leads to the record");
  await editor.fill('{"id": "x", "titel": "A"}');
  await page.getByRole("button", { name: v.t("Ver los cambios", "Show changes") }).click();
  await page.locator(".diff tr.added").waitFor();
  await insist(v, v.t("Guardar los cambios", "Save changes"), false);
  await failure.getByText("ACQ-DLQ-004").waitFor();
  assert.match(await failure.innerText(), /titel: unknown column/);
  await v.check("does-not-fit");

  await page.goto(here);
  const record = await mend(v);
  await v.check("diff");
  await insist(v, v.t("Guardar los cambios", "Save changes"), false);
  await page.getByText(v.t("Cambios guardados.", "Changes saved.")).waitFor();
  await v.check("saved");
  await insist(v, v.t("Reenviar", "Retry"));
  await page.locator("#retries li").first().waitFor();
  await v.check("passed");
  for (const deadline = Date.now() + 30_000; (await page.goto(here)).status() !== 404; ) {
    assert.ok(Date.now() < deadline, "it is a dead letter no longer");
  }
  await page.goto(`/query?sql=${encodeURIComponent(`SELECT count(*) AS n FROM videogames WHERE title = '${record.title}' AND genre = 'Puzzle'`)}`);
  await page.getByRole("cell", { name: "1", exact: true }).waitFor();
}

async function lettersBulk(v) {
  const { page } = v;
  await page.goto(ownLetters(v));
  const count = async () => Number((await page.locator("#letters-title").innerText()).match(/\d+/)[0]);
  const before = await count();
  await page.getByRole("button", { name: v.t("Descartar las elegidas", "Drop selected") }).click();
  const failure = page.getByRole("alert");
  await failure.getByText("ACQ-DLQ-007").waitFor();
  for (const row of [0, 1, 2]) await page.locator("#letters tbody input").nth(row).check();
  await page.getByRole("button", { name: v.t("Descartar las elegidas", "Drop selected") }).click();
  await page.getByRole("heading", { name: v.t("¿Descartar 3 cartas?", "Drop 3 letters?") }).waitFor();
  await v.check("confirm");
  await insist(v, v.t("Sí, descartar 3 cartas", "Yes, drop 3 letters"));
  await page.getByText(v.t("3 cartas descartadas.", "3 letters dropped.")).waitFor();
  assert.equal(await count(), before - 3);
  await v.check("dropped");

  await page.getByLabel(v.t("Elegir todas las de esta página", "Select all on this page")).check();
  assert.ok(await page.locator("#letters tbody input").last().isChecked(), "one box selects them all");
  await page.getByRole("button", { name: v.t(/^Reenviar las \d+$/, /^Retry all \d+$/) }).click();
  await insist(v, v.t(/^Sí, reenviar/, /^Yes, retry/));
  await page.getByText(v.t("rechazadas otra vez", "refused again")).first().waitFor();
  await v.check("refused-again");
}

async function lettersWithoutScript(v) {
  const { page } = v;
  await page.goto(ownLetters(v));
  await page.locator("#letters tbody tr").last().getByRole("link").click();
  await mend(v);
  await insist(v, v.t("Guardar los cambios", "Save changes"), false);
  await page.getByText(v.t("Cambios guardados.", "Changes saved.")).waitFor();
  await page.getByRole("button", { name: v.t("Descartar…", "Drop…") }).click();
  await insist(v, v.t("Sí, descartar 1 carta", "Yes, drop 1 letter"));
  await page.getByText(v.t("1 carta descartada.", "1 letter dropped.")).waitFor();
  await v.shot("dropped");
}

async function lettersPhone(v) {
  const { page } = v;
  await page.goto("/deadletters");
  await v.check("list");
  await page.goto("/deadletters?text=begins+here");
  await page.locator("#letters tbody tr").first().getByRole("link").click();
  await page.locator(".original.dump").waitFor();
  await v.check("binary");
}
