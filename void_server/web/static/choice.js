// A choice of a few, side by side.

import { make } from "./dom.js";

let groups = 0;

/** One of `options`, each [value, words]. */
export function choice(label, options, value) {
  const name = `choice-${++groups}`;
  const inputs = options.map(([one]) => make("input", { type: "radio", name, value: one, checked: one === value }));
  const listeners = [];
  const element = make(
    "fieldset.choice", {}, make("legend", {}, label),
    make(".options", {}, options.map(([, words], at) => make("label", {}, inputs[at], make("span", {}, words)))),
  );
  element.addEventListener("change", () => listeners.forEach((act) => act()));
  return {
    element,
    value: () => inputs.find((one) => one.checked).value,
    choose(wanted) {
      inputs.find((one) => one.value === wanted).checked = true;
      listeners.forEach((act) => act());
    },
    onChange: (act) => listeners.push(act),
  };
}
