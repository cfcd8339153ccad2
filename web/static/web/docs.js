/* The documentation beyond links: buttons that copy code, links to headings, the list of pages open where there is room. */
"use strict";

const menu = document.querySelector("[data-docs-menu]");
const wide = matchMedia("(min-width: 62rem)");
const openWhereWide = () => (menu.open = wide.matches);
wide.addEventListener("change", openWhereWide);
openWhereWide();

for (const figure of document.querySelectorAll(".code")) {
  if (!navigator.clipboard) break; // plain http on another machine
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(figure.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  figure.append(button);
}

for (const heading of document.querySelectorAll(".docs-text h2[id], .docs-text h3[id]")) {
  const link = document.createElement("a");
  link.className = "anchor";
  link.href = `#${heading.id}`;
  link.textContent = "#";
  link.ariaLabel = `Link to “${heading.textContent}”`;
  heading.append(link);
}
