// A form of settings, derived from what the server says it takes.

import { fill, make } from "./dom.js";

const KINDS = { engines: "engine_settings", reasoners: "reasoner_settings" };
const CHOSEN = { engines: "engine", reasoners: "reasoner" };

/** A form for what `hello` says; `values()` are those that differ from their defaults. */
export function settingsForm(hello) {
  const said = {};
  const own = { engines: make(".fields"), reasoners: make(".fields") };
  const choices = {};
  for (const [kind, table] of Object.entries(KINDS)) {
    const declared = hello.common.find((one) => one.name === CHOSEN[kind]);
    const select = make(
      "select", {}, hello.offered[kind].map(({ name, title }) => make("option", { value: name }, title)),
    );
    select.value = declared.default;
    said[table] = {};
    const renew = () => {
      said[table] = {};
      const chosen = hello.offered[kind].find(({ name }) => name === select.value);
      fill(own[kind], (chosen?.settings ?? []).map((one) => field(one, said[table])));
    };
    select.addEventListener("change", () => {
      said[CHOSEN[kind]] = select.value;
      renew();
    });
    renew();
    choices[kind] = make("label.field", { title: declared.long_help }, make("span", {}, declared.label), select);
  }
  const rest = hello.common.filter((one) => !Object.values(CHOSEN).includes(one.name));
  const element = make(
    ".settings", {}, choices.engines, choices.reasoners,
    make("details", {}, make("summary", {}, "More settings"), own.engines, own.reasoners, make(".fields", {}, rest.map((one) => field(one, said)))),
  );
  return { element, values: () => structuredClone(said) };
}

/** The field of one declaration; what is entered goes into `said`. */
function field(one, said) {
  const input = control(one);
  input.addEventListener("change", () => {
    const value = read(one, input);
    if (value === one.default || value === null) delete said[one.name];
    else said[one.name] = value;
  });
  const unit = one.unit ? ` (${one.unit})` : "";
  return make("label.field", { title: one.long_help }, make("span", {}, one.label + unit), input);
}

function control(one) {
  if (one.type === "bool") return make("input", { type: "checkbox", checked: one.default });
  if (one.choices.length) {
    const select = make("select", {}, one.choices.map((choice) => make("option", { value: choice }, choice)));
    select.value = one.default;
    return select;
  }
  if (one.type === "str") return make("input", { type: "text", value: one.default, placeholder: one.give });
  const number = make("input", { type: "number", value: one.default, step: one.type === "int" ? 1 : "any" });
  if (one.low !== null && !one.or_zero) number.min = one.low;
  if (one.high !== null) number.max = one.high;
  return number;
}

function read(one, input) {
  if (one.type === "bool") return input.checked;
  if (one.type === "str") return input.value;
  return input.value === "" ? null : Number(input.value);
}
