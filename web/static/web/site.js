/* What the pages do beyond links: copying a request, and a status that renews itself without losing the reader's place. */
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // plain http on another machine
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

const report = document.querySelector("[data-refresh-s]");
const pause = document.querySelector("[data-pause]");

async function renew() {
  if (document.hidden || pause.ariaPressed === "true") return;
  const response = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  const page = response && new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page ? page.querySelectorAll("[data-live]") : [];
  const shown = report.querySelectorAll("[data-live]");
  if (fresh.length !== shown.length) {
    shown[0].className = "state down";
    shown[0].textContent = "This page cannot reach the platform.";
    return;
  }
  document.title = page.title;
  shown.forEach((element, index) => {
    if (element.outerHTML === fresh[index].outerHTML) return;
    element.className = fresh[index].className;
    element.replaceChildren(...fresh[index].childNodes);
    if (fresh[index].dateTime) element.dateTime = fresh[index].dateTime;
  });
}

if (report) {
  pause.hidden = false;
  pause.ariaPressed = "false";
  pause.addEventListener("click", () => {
    pause.ariaPressed = String(pause.ariaPressed !== "true");
    if (pause.ariaPressed === "false") renew();
  });
  setInterval(renew, report.dataset.refreshS * 1000);
}
