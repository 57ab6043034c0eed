// The queue: jobs and workers, as they stand.

import { get, isOwn, may, post } from "./api.js";
import { button, fill, make, tell } from "./dom.js";
import { follow, hasEnded } from "./news.js";
import { ago, kind, standing } from "./words.js";

export function jobsView(hello, signal) {
  const rows = make("ul.jobs");
  const machines = make("ul.machines");
  const previews = make("input", { type: "checkbox" });
  const known = new Map();
  let latest = { jobs: [], workers: [] };

  function show() {
    const jobs = latest.jobs.filter((job) => previews.checked || job.shot.settings.until !== "roto");
    fill(rows, jobs.length ? jobs.map((job) => {
      const text = JSON.stringify(job);
      // what has not changed keeps its place, and the keyboard its focus
      if (known.get(job.id)?.text !== text) known.set(job.id, { text, element: row(job) });
      return known.get(job.id).element;
    }) : make("li.hint", {}, "No jobs yet."));
    fill(machines, latest.workers.map((one) => {
      const at = one.gpu ? `GPU ${one.gpu}` : "CPU";
      const doing = !one.ready ? "starting" : one.job ? make("a", { href: `#/jobs/${one.job}` }, `job ${one.job}`) : one.busy ? "busy" : "idle";
      return make(`li${one.busy ? ".busy" : ""}`, {}, make("strong", {}, one.name), ` ${at} · `, doing);
    }));
  }
  const told = make("ul.notices");
  const farm = make("details", { hidden: true }, make("summary", {}, "From the farm"), told);
  get("notices").then((notices) => {
    farm.hidden = !notices.length;
    fill(told, notices.map((one) => make(`li${String(one.event).endsWith("failed") ? ".failed" : ""}`, {}, make("span.hint", {}, `${ago(Number(one.when))} `), String(one.text))));
  }).catch(tell);
  const stop = follow((news) => {
    if (news.error) return;
    latest = news;
    show();
  });
  signal.addEventListener("abort", stop);
  previews.addEventListener("change", show);
  return make(
    "section.wide", {},
    make("h1", {}, "Jobs"),
    make("p.hint", {}, `Server ${hello.server.version} at ${hello.server.address}`),
    machines,
    farm,
    make("label.check", {}, previews, "Show previews of masks"),
    rows,
  );
}

function row(job) {
  const bar = make("progress", { max: 1, value: job.state === "done" ? 1 : job.progress.fraction, "aria-label": "Progress" });
  const words = job.error ? job.error.message : standing(job);
  return make(
    `li.job.${job.state}`, {},
    make("a.what", { href: `#/jobs/${job.id}` }, make("strong", {}, job.name), make("span.hint", {}, [kind(job), job.shot.settings.engine, isOwn(job) ? "" : job.submitter, ago(job.created)].filter(Boolean).join(" · "))),
    make(".how", {}, !hasEnded(job) && bar, make("span.state", {}, words), job.warnings.length > 0 && make("span.warned", {}, `${job.warnings.length} warnings`)),
    actions(job),
  );
}

/** Which of the waiting jobs go before this one. */
function priority(job) {
  const options = [[25, "after others"], [50, "normal"], [75, "before others"]];
  if (!options.some(([value]) => value === job.priority)) options.push([job.priority, String(job.priority)]);
  // more than it has is given by those alone who may
  const offered = options.filter(([value]) => value <= Math.max(50, job.priority) || may("prioritise"));
  const select = make("select", { "aria-label": "Priority" }, offered.map(([value, words]) => make("option", { value }, `Priority: ${words}`)));
  select.value = job.priority;
  select.addEventListener("change", () => post(`jobs/${job.id}/priority`, { priority: Number(select.value) }).catch((error) => {
    select.value = job.priority;
    tell(error);
  }));
  return select;
}

/** What can be done with a job. */
export function actions(job) {
  const can = [];
  if (job.state === "queued" && (isOwn(job) || may("prioritise"))) can.push(priority(job));
  if (!hasEnded(job) && may("administer", job)) can.push(button("Cancel", () => post(`jobs/${job.id}/cancel`), { quiet: true }));
  if (["failed", "cancelled", "interrupted"].includes(job.state) && may("administer", job)) can.push(button("Resume", () => post(`jobs/${job.id}/resume`), { quiet: true }));
  if (job.brought) can.push(make("a.button.quiet", { href: `#/shots/${job.brought}` }, "Again"));
  else if (hasEnded(job) && may("submit")) {
    can.push(button("Again", async () => (location.hash = `#/jobs/${(await post(`jobs/${job.id}/again`)).id}`), { quiet: true }));
  }
  return make(".row.acts", {}, can);
}
