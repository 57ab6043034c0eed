// A job: its progress, its frames and layers, its report, and why it failed.

import { get } from "./api.js";
import { fill, make } from "./dom.js";
import { actions } from "./jobs.js";
import { bind } from "./keys.js";
import { downloads, legend, title, warningsOf } from "./layers.js";
import { follow, hasEnded } from "./news.js";
import { progressBar } from "./progress.js";
import { choice } from "./choice.js";
import { MIDDLE, viewer } from "./viewer.js";
import { ago, duration, kind, percent } from "./words.js";

export async function jobView(hello, signal, id) {
  const first = await get(`jobs/${id}`);
  const head = make(".head"), progress = progressBar(), about = make(".about"), result = make(".result");
  let last = "";

  async function show(job) {
    const text = JSON.stringify(job);
    if (text === last) return;
    const was = last ? JSON.parse(last).state : "";
    last = text;
    fill(head, make("h1.title", {}, job.name), make("p.hint", {}, `Job ${job.id} · ${kind(job)} · ${job.state} · ${ago(job.created)}`), actions(job));
    if (hasEnded(job)) progress.hide();
    else progress.show(job);
    if (was === job.state) return;
    fill(about, trouble(job), asked(job));
    if (job.state === "done") fill(result, await seen(job, signal));
    else fill(result);
  }
  await show(first);
  signal.addEventListener("abort", follow(({ jobs }) => {
    const job = jobs.find((one) => one.id === id);
    if (job) show(job);
  }));
  return make("section.wide", {}, head, progress.element, result, about);
}

/** Why a job failed, and what it warns of. */
function trouble(job) {
  return [
    job.error && make("p.warning.failed", {}, job.error.message),
    job.error?.detail && make("details", {}, make("summary", {}, "Log"), make("pre", {}, job.error.detail)),
    ...warningsOf(job),
  ];
}

/** What was asked for. */
function asked(job) {
  const { settings, prompts, ...shot } = job.shot;
  const { engine_settings: engine, reasoner_settings: reasoner, ...common } = settings;
  const rows = { ...shot, points: prompts.length || "", ...common, ...engine, ...reasoner, folder: job.folder };
  return make("details", {}, make("summary", {}, "What was asked"), table(rows));
}

function table(rows) {
  const shown = Object.entries(rows).filter(([, value]) => !["", null, undefined, 0].includes(value) && typeof value !== "object");
  return make("table", {}, make("tbody", {}, shown.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name.replaceAll("_", " ")), make("td", {}, String(value))))));
}

async function seen(job, signal) {
  const found = await get(`jobs/${job.id}/view`);
  if (!found.frames.length) return [];
  const picture = found.before ? "before" : found.after ? "after" : null;
  const parts = [];
  if (picture || found.layers.length) parts.push(await layered(job, found, signal));
  parts.push(downloads(job.id, found.downloads), facts(found.manifest), ...disclosed(found));
  const sheet = make("img.sheet", { alt: "Contact sheet: a column for each of some frames, with plate, quadmask and result", src: `/api/jobs/${job.id}/contact_sheet` });
  parts.push(make("h2", {}, "Contact sheet"), make("a", { href: `/api/jobs/${job.id}/contact_sheet` }, sheet));
  const frame = make("iframe.report", { title: "Report", sandbox: "", loading: "lazy" });
  const details = make("details", {}, make("summary", {}, "Report"), frame);
  details.addEventListener("toggle", () => (frame.src ||= `/api/jobs/${job.id}/report`), { once: true });
  parts.push(details);
  return parts;
}

async function layered(job, found, signal) {
  const size = await sizeOf(`/api/jobs/${job.id}/${found.after ? "after" : found.before ? "before" : found.layers[0]}/${found.frames[0]}`);
  const view = viewer({
    frames: found.frames,
    aspect: size.width / size.height,
    url: (layer, frame, stops) => `/api/jobs/${job.id}/${layer}/${frame}?stops=${stops}`,
  });
  const options = [];
  if (found.before && found.after) options.push(["split", "Before | after"]);
  if (found.before) options.push(["before", "Before"]);
  if (found.after) options.push(["after", "After"]);
  const shown = options.length ? choice("Show", options, options[0][0]) : null;
  const over = choice("Over it", [["", "Nothing"], ...found.layers.map((name) => [name, title(name)])], found.after ? "" : found.layers[0] ?? "");
  const colours = make(".colours");

  function relay() {
    const base = shown?.value();
    const layers = base === "split" ? ["before", "after"] : base ? [base] : [];
    view.cut(base === "split" ? view.split ?? MIDDLE : null);
    fill(colours, over.value() && legend(over.value()));
    return view.lay([...layers, ...(over.value() ? [over.value()] : [])]);
  }
  shown?.onChange(relay);
  over.onChange(relay);
  bind({
    ArrowLeft: () => view.step(-1),
    ArrowRight: () => view.step(1),
    Home: () => view.go(0),
    End: () => view.go(found.frames.length - 1),
    " ": view.toggle,
    b: () => found.before && found.after && shown.choose(shown.value() === "before" ? "after" : "before"),
    s: () => found.before && found.after && shown.choose("split"),
    q: () => found.layers.includes("quadmask") && over.choose(over.value() === "quadmask" ? "" : "quadmask"),
  });
  view.go(Math.floor(found.frames.length / 2));
  await relay();
  if (signal.aborted) return [];
  const lacking = found.before ? null : make("p.hint", {}, "The plate is not on the page's machine, so there is no before.");
  return make(".layered", {}, view.element, make(".row.choices", {}, shown?.element, over.element, colours), lacking, make("p.hint.keys", {}, "← → frames · space play · b before/after · s split · q affected"));
}

async function sizeOf(address) {
  const image = make("img", { src: address });
  await image.decode();
  return { width: image.naturalWidth, height: image.naturalHeight };
}

/** With what a result was made, and who approved it. */
function disclosed({ disclosure: { generative, source_type: type, who, machine }, tools, approvals }) {
  const rows = {
    "made by a model": generative ? "yes, in part" : generative === false ? "no" : "",
    "source type": type,
    tools: tools.join("; "),
    "done for": who,
    machine,
    "approved by": approvals.length ? approvals.map((one) => (one.note ? `${one.by}: ${one.note}` : one.by)).join("; ") : "nobody yet",
  };
  return [make("h2", {}, "Disclosure and approval"), make(".disclosure", {}, table(rows))];
}

/** Figures of a result. */
function facts(manifest) {
  const origin = Object.entries(manifest.origin ?? {}).filter(([, share]) => share).map(([name, share]) => `${name} ${percent(share)}`).join(", ");
  const spent = Object.values(manifest.timings ?? {}).reduce((sum, seconds) => sum + seconds, 0);
  const rows = { "new pixels": origin, time: spent ? duration(spent) : "", scene: manifest.scene, "made with": Object.entries(manifest.software ?? {}).map(([name, version]) => `${name} ${version}`).slice(0, 4).join(", ") };
  return table(rows);
}

