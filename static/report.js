"use strict";
// Keys of the report's pages: what has data-key="x" is followed, opened or focused by the key x. The
// pages are complete without this; whoever types or speaks to the computer can turn the keys off.
(() => {
  document.querySelector(".line-of-tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  const OFF = "clickmw.keys";
  const help = document.querySelector(".keys");
  const box = document.querySelector(".keys-on");
  if (!help || !box) return;

  const keep = (on) => {
    try {
      on ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "off");
    } catch {} // no storage: until the next page
  };
  const kept = () => {
    try {
      return localStorage.getItem(OFF) !== "off";
    } catch {
      return true;
    }
  };

  const act = (found) => {
    const around = found.closest("details");
    if (around) around.open = found.tagName !== "SUMMARY" || !around.open;
    if (found.tagName === "A") return found.click();
    found.focus();
    found.select?.();
    found.scrollIntoView({ block: "nearest" });
  };

  const fold = (open) => {
    if (open.contains(document.activeElement)) open.querySelector("summary").focus();
    open.open = false;
  };

  help.hidden = false;
  box.checked = kept();
  box.addEventListener("change", () => keep(box.checked));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
    if (event.key === "Escape") {
      for (const open of document.querySelectorAll(".chooser[open], .menu[open]")) fold(open);
      return;
    }
    if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
    // Inside a table that is wider than its place the arrows move the table.
    if (event.key.startsWith("Arrow") && event.target.closest?.(".scroll")) return;
    if (!box.checked) return;
    const marked = [...document.querySelectorAll("[data-key]")];
    const found = marked.find((each) => each.dataset.key === event.key);
    if (!found) return;
    event.preventDefault();
    act(found);
  });
})();
