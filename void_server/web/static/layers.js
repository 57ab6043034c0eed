// What layers mean, and what of a result can be kept.

import { make } from "./dom.js";

const LEGENDS = {
  quadmask: [["remove", "remove"], ["overlap", "both"], ["affected", "affected"]],
  roto: [["remove", "roto"]],
  blend: [["blend", "new pixels"]],
  origin: [["recovered", "seen in other frames"], ["affected", "filled in"], ["overlap", "made by a model"]],
};
const TITLES = { quadmask: "What is affected", roto: "Roto", blend: "Blend", origin: "Where pixels come from" };
const KEPT = { plate: "EXR", patch: "Patch", mattes: "Mattes", quadmask: "Quadmask", roto: "Roto" };

export const title = (layer) => TITLES[layer] ?? layer;

/** What the colours of a layer mean. */
export function legend(layer) {
  return make("ul.legend", { "aria-label": "Colours" }, (LEGENDS[layer] ?? []).map(([colour, words]) => make("li", {}, make(`i.${colour}`, { "aria-hidden": "true" }), words)));
}

/** What a job warns of. */
export const warningsOf = (job) => job.warnings.map((warning) => make("p.warning", {}, warning));

/** Links to what of a job can be kept. */
export function downloads(job, names) {
  const link = (what, words) => make("a.button.quiet", { href: `/api/jobs/${job}/download/${what}`, download: "" }, words);
  return make(".row", { role: "group", "aria-label": "Download" }, names.map((name) => link(name, `↓ ${KEPT[name] ?? name}`)), names.includes("plate") && link("movie", "↓ Movie"));
}
