// The keyboard: what keys do on the view that is shown.

let bound = {};

/** Have keys do these: by the key's name, a function. */
export function bind(keys) {
  bound = keys;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = event.target;
  // where people type, and on what moves by arrows itself, keys mean what they always do
  if (at.matches?.("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea")) return;
  if (event.key.startsWith("Arrow") && at.matches?.("input, select")) return;
  if (event.key === " " && at.matches?.("button, a, summary, input")) return;
  const act = bound[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
