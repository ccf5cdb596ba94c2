// What the pages of the dead letters can do more with a script: one box selects all of a page, and a retry under way
// brings itself up to date.
"use strict";

const letters = document.getElementById("letters");
if (letters) {
  const boxes = [...letters.querySelectorAll("tbody input[type=checkbox]")];
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", letters.dataset.selectAll);
  letters.querySelector("thead th").append(all);
  const show = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  all.addEventListener("change", () => boxes.forEach((box) => { box.checked = all.checked; }));
  boxes.forEach((box) => box.addEventListener("change", show));
  show(); // the browser may have kept a choice
}

const retries = document.getElementById("retries");
const follow = async () => {
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("retries");
      if (next && !("running" in next.dataset)) {
        location.replace(location.pathname + location.search); // the list has changed, too
        return;
      }
    }
  } catch {
    // The server is away for a moment: it is asked again.
  }
  setTimeout(follow, 1000);
};
if (retries && "running" in retries.dataset && location.pathname === "/deadletters") setTimeout(follow, 1000);
