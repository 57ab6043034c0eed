// A shot that was brought: say what is to go, see what that affects, correct it, remove it, compare.

import { get, post } from "./api.js";
import { correcting } from "./correcting.js";
import { button, fill, make, tell } from "./dom.js";
import { bind } from "./keys.js";
import { downloads, legend, warningsOf } from "./layers.js";
import { marks } from "./marks.js";
import { ended } from "./news.js";
import { progressBar } from "./progress.js";
import { settingsForm } from "./settings.js";
import { choice } from "./choice.js";
import { MIDDLE, viewer } from "./viewer.js";
import { frames } from "./words.js";

const PAUSE_MS = 200;
const SPACES = ["lin_rec709", "ACEScg", "ACES2065-1", "lin_p3d65", "sRGB", "g24_rec709"];

export async function removeView(hello, signal, id) {
  const shot = await get(`shots/${id}`);
  const state = { mask: null, quadmask: null, result: null, overlay: true, running: null };
  const form = settingsForm(hello);
  const space = spaceField(shot);
  const scene = make("input", { type: "text", placeholder: "An empty room." });
  const view = viewer({
    frames: shot.frames,
    aspect: (shot.width * shot.aspect) / shot.height,
    url: (layer, frame, stops) => address(layer, frame, stops),
    onFrame: () => {
      drawn.draw();
      corrected.draw();
      relay();
    },
  });

  function address(layer, frame, stops) {
    if (layer === "before") return `/api/shots/${id}/frames/${frame}?stops=${stops}&colorspace=${encodeURIComponent(space.value())}`;
    if (layer === "mask") return `/api/jobs/${state.mask.id}/roto/${frame}`;
    if (layer === "after") return `/api/jobs/${state.result.id}/after/${frame}?stops=${stops}`;
    return `/api/jobs/${(state.quadmask ?? state.result).id}/${layer}/${frame}`;
  }

  // What is to go

  const marking = choice("Click", [["point", "+ On it"], ["not", "− Not it"], ["box", "▢ Box"]], "point");
  const drawn = marks(view, shot, () => (correctingNow() || view.split !== null ? "" : marking.value()), renewMask);
  const called = make("input", { type: "text", placeholder: "the man in red", "aria-label": "Or its name" });
  called.addEventListener("change", () => drawn.name(called.value.trim()));
  const naming = make("label.field", {}, make("span", {}, "Or name it (needs SAM 3 on the server)"), called);
  let pause = 0, asking = null;
  function renewMask() {
    clearTimeout(pause);
    asking?.abort();
    drop("mask", "quadmask", "result");
    const frame = view.frame;
    if (!drawn.prompts.some((one) => one.frame === frame && one.kind !== "not")) return;
    pause = setTimeout(() => mask(frame).catch((error) => error.name === "AbortError" || tell(error)), PAUSE_MS);
  }
  async function mask(frame) {
    asking = new AbortController();
    const mine = AbortSignal.any([asking.signal, signal]);
    const prompts = drawn.prompts.filter((one) => one.frame === frame);
    const job = await post(`shots/${id}/mask`, { prompts, colorspace: space.value(), segmenter: form.values().segmenter });
    if (mine.aborted) {
      post(`jobs/${job.id}/cancel`).catch(() => {});
      return;
    }
    const done = await ended(job.id, maskProgress.show, mine);
    maskProgress.hide();
    if (done.state !== "done") throw new Error(done.error?.message ?? "The mask could not be made.");
    state.mask = { id: done.id, frame };
    relay();
  }
  const maskProgress = progressBar();

  // What it affects, and corrections

  const way = choice("Correct by", [["", "Nothing"], ["cells", "Cells"], ["brush", "Brush"]], "");
  const what = choice("Make it", [["affected", "Affected"], ["keep", "Keep"]], "affected");
  const reach = choice("On", [["one", "This frame"], ["all", "All frames"]], "all");
  const radius = make("input", { type: "range", min: 4, max: Math.round(shot.height / 4), value: Math.round(shot.height / 20) });
  const brush = make("label.field", { hidden: true }, make("span", {}, "Size of the brush"), radius);
  const correctingNow = () => state.quadmask && way.value() && view.split === null;
  const corrected = correcting(
    view, shot,
    () => correctingNow() && { way: way.value(), what: what.value(), radius: Number(radius.value), all: reach.value() === "all" },
    () => fill(count, corrected.count ? `Corrections: ${corrected.count}` : ""),
  );
  const count = make("p.hint");
  const how = make(".how", { hidden: true }, what.element, reach.element, brush, make(".row", {}, button("Undo", () => corrected.undo(), { quiet: true }), button("Clear", () => corrected.clear(), { quiet: true })), count);
  way.onChange(() => {
    how.hidden = !way.value();
    brush.hidden = way.value() !== "brush";
    corrected.draw();
  });
  const affectedProgress = progressBar();
  const overlay = make("input", { type: "checkbox", checked: true });
  overlay.addEventListener("change", () => {
    state.overlay = overlay.checked;
    relay();
  });
  const affectedWarnings = make(".warnings");
  const affects = make(".after", { hidden: true }, affectedWarnings, make("label.check", {}, overlay, "Show over the frame"), legend("quadmask"), way.element, how);

  // Remove

  const removeProgress = progressBar();
  const finished = make(".after", { hidden: true });
  const stop = button("Stop", () => post(`jobs/${state.running}/cancel`), { quiet: true });
  stop.hidden = true;

  async function run(until, progress) {
    if (!drawn.prompts.length) throw new Error("Click on the thing first: its points say what is to go.");
    if (until === "quadmask") drop("quadmask");
    drop("result");
    const said = {
      prompts: drawn.prompts,
      prompt: scene.value,
      colorspace: space.value(),
      settings: { ...form.values(), until },
      ...(until === "plate" && state.quadmask ? { quadmask_of: state.quadmask.id, cells: corrected.cells, strokes: corrected.strokes } : {}),
    };
    progress.say("Sending the frames to the server.");
    try {
      const job = await post(`shots/${id}/jobs`, said);
      state.running = job.id;
      stop.hidden = false;
      const done = await ended(job.id, progress.show, signal);
      if (done.state !== "done") throw new Error(done.error?.message ?? `The job was ${done.state}.`);
      return done;
    } finally {
      stop.hidden = true;
      state.running = null;
      progress.hide();
    }
  }
  const see = button("See what is affected", async () => {
    const done = await run("quadmask", affectedProgress);
    state.quadmask = { id: done.id };
    fill(affectedWarnings, warningsOf(done));
    affects.hidden = false;
    relay();
  }, { quiet: true });
  const go = button("Remove it", async () => showResult(await run("plate", removeProgress)));

  async function showResult(job) {
    state.result = { id: job.id };
    const seen = await get(`jobs/${job.id}/view`);
    fill(finished, warningsOf(job), compare(), downloads(job.id, seen.downloads), make("p.more", {}, make("a", { href: `#/jobs/${job.id}` }, "Report, layers and details")));
    finished.hidden = false;
    overlay.checked = state.overlay = false;
    view.cut(MIDDLE);
    drawn.hide(true);
    corrected.hide(true);
    relay();
    finished.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  function compare() {
    const shown = choice("Show", [["split", "Before | after"], ["before", "Before"], ["after", "After"]], "split");
    state.compare = shown;
    shown.onChange(() => {
      view.cut(shown.value() === "split" ? MIDDLE : null);
      relay();
    });
    return shown.element;
  }

  /** Forget what no longer holds. */
  function drop(...names) {
    for (const name of names) state[name] = null;
    if (names.includes("quadmask")) {
      affects.hidden = true;
      way.choose("");
      if (corrected.count) corrected.clear();
      overlay.checked = state.overlay = true;
    }
    if (names.includes("result")) {
      finished.hidden = true;
      state.compare = null;
      view.cut(null);
      drawn.hide(false);
      corrected.hide(false);
    }
    relay();
  }

  /** Show the layers that there are now. */
  function relay() {
    const shown = state.compare?.value();
    const layers = shown === "after" ? ["after"] : shown === "split" ? ["before", "after"] : ["before"];
    if (state.overlay && state.quadmask) layers.push("quadmask");
    else if (state.mask?.frame === view.frame && !state.result) layers.push("mask");
    corrected.draw();
    return view.lay(layers);
  }

  bind({
    ArrowLeft: () => view.step(-1),
    ArrowRight: () => view.step(1),
    Home: () => view.go(0),
    End: () => view.go(shot.frames.length - 1),
    " ": view.toggle,
    p: () => marking.choose("point"),
    n: () => marking.choose("not"),
    x: () => marking.choose("box"),
    z: () => (correctingNow() ? corrected.undo() : drawn.undo()),
    q: () => overlay.click(),
    b: () => state.compare?.choose(state.compare.value() === "before" ? "after" : "before"),
    s: () => state.compare?.choose("split"),
  });
  signal.addEventListener("abort", () => asking?.abort());
  space.onChange(() => view.reload());
  view.go(Math.floor(shot.frames.length / 2));
  relay();
  restore(shot, { drawn, called, showResult, state, affects, relay }).catch(tell);

  const panel = make(
    "aside.panel", { "aria-label": "Steps" },
    step("1", "What is to go?", make("p.hint", {}, shot.sample ? "Draw a box around the figure in the red coat, or click on it." : "Click on the thing, or draw a box around it. Other frames help where it changes."), marking.element, make(".row", {}, button("Undo", () => drawn.undo(), { quiet: true }), button("Clear", () => {
      called.value = "";
      drawn.clear();
    }, { quiet: true })), naming, maskProgress.element),
    step("2", "What does it affect?", make("p.hint", {}, "Its shadow, its reflection, what it touches. You may skip this."), see, affectedProgress.element, affects),
    step("3", "Remove it", form.element, make("label.field", {}, make("span", {}, "The scene afterwards"), scene), space.element, make(".row", {}, go, stop), removeProgress.element, finished),
  );
  const name = make("h1.title", {}, shot.name);
  return make(
    "section.work", {},
    make(".stage", {}, name, make("p.hint", {}, `${shot.width} × ${shot.height}, ${frames(shot.frames)}`), view.element, make("p.hint.keys", {}, "← → frames · space play · p n x point, not, box · z undo · q affected · b before/after · s split")),
    panel,
  );
}

/** Show again what was done with a shot before. */
async function restore(shot, { drawn, called, showResult, state, affects, relay }) {
  const jobs = (await Promise.all(shot.jobs.slice(-12).map((job) => get(`jobs/${job}`).catch(() => null)))).filter(Boolean);
  const last = (until) => jobs.findLast((job) => job.shot.settings.until === until && job.state === "done");
  const prompts = jobs.findLast((job) => job.shot.prompts.length && job.shot.settings.until !== "roto");
  if (prompts) drawn.prompts = prompts.shot.prompts.map(({ frame, kind, at, called }) => ({ frame, kind, at, called }));
  called.value = drawn.called;
  const [quadmask, result] = [last("quadmask"), last("plate")];
  if (quadmask && (!result || result.created > quadmask.created)) {
    state.quadmask = { id: quadmask.id };
    affects.hidden = false;
    relay();
  }
  if (result && (!quadmask || result.created > quadmask.created)) await showResult(result);
}

function step(number, title, ...content) {
  return make("section.step", {}, make("h2", {}, make("span.count", { "aria-hidden": "true" }, number), title), ...content);
}

function spaceField(shot) {
  const select = make("select", {}, [...new Set([shot.colorspace, ...SPACES])].map((name) => make("option", { value: name }, name)));
  select.value = shot.colorspace;
  return {
    element: make("details", {}, make("summary", {}, "Colour space"), make("label.field", {}, make("span", {}, "Of the plate"), select)),
    value: () => select.value,
    onChange: (act) => select.addEventListener("change", act),
  };
}
