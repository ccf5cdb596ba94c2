// What the pages can do more with a script: Ctrl+Enter runs the query, a plot choice redraws at once, and the status
// page brings itself up to date.
"use strict";

const form = document.getElementById("query-form");
if (form) {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
}

const live = document.getElementById("status-live");
if (live) {
  const button = document.getElementById("status-pause");
  let paused = false;
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
  });
  const refresh = async () => {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch("/status/live", { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.getElementById("status-live");
      if (next) live.replaceChildren(...next.childNodes);
    } catch {
      // The server is away for a moment: the page keeps what it has and tries again.
    }
  };
  setInterval(refresh, 2000);
}
