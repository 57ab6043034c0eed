// The viewer: a frame with layers over it, before and after a line that can be dragged, a scrubber, exposure, and play.

import { fill, make } from "./dom.js";

const PLAY_MS = 1000 / 24;
const LONGEST = 400;

/** Where the line between before and after begins: beside what is mostly in the middle. */
export const MIDDLE = 0.6;

/**
 * A viewer of `frames`. `url(layer, frame, stops)` is where the picture of a layer is; `shown()` lists the layers, the
 * lowest first; one that is called "after" is cut off at the line. `onFrame(frame)` hears of each other frame.
 */
export function viewer({ frames, aspect, url, onFrame = () => {} }) {
  let index = 0, stops = 0, layers = [], split = null, playing = null;
  const stack = make(".stack", { tabIndex: 0, role: "group", "aria-label": "Frame" });
  const over = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  over.classList.add("over");
  over.setAttribute("preserveAspectRatio", "none");
  over.setAttribute("aria-hidden", "true");
  const line = make("input.line", { type: "range", min: 0, max: 1000, value: 500, hidden: true, "aria-label": "Before and after" });
  const picture = make(".picture", {}, stack, over, line);
  picture.style.aspectRatio = String(aspect);
  picture.style.setProperty("--aspect", String(aspect));

  const scrubber = make("input", { type: "range", min: 0, max: Math.max(0, frames.length - 1), value: 0, "aria-label": "Frame" });
  const number = make("output.number");
  const play = make("button.quiet", { type: "button", "aria-label": "Play" }, "▶");
  const exposure = make("input", { type: "range", min: -6, max: 6, step: 0.5, value: 0, "aria-label": "Exposure in stops" });
  const stopsShown = make("output.number", {}, "0");
  const controls = make(
    ".controls", {}, play, make("label.scrub", {}, scrubber), number,
    make("label.exposure", { title: "Exposure" }, "☀", exposure, stopsShown),
  );
  const element = make(".viewer", {}, picture, controls);
  const cache = new Map();

  const current = () => frames[index];

  /** The picture of a layer, kept for when it is looked at again. */
  function loaded(layer, frame) {
    const address = url(layer, frame, stops);
    let image = cache.get(address);
    if (!image) {
      image = make("img", { alt: "", draggable: false, src: address });
      image.ready = image.decode().catch(() => image.classList.add("lacking"));
      cache.set(address, image);
      while (cache.size > LONGEST) cache.delete(cache.keys().next().value);
    }
    return image;
  }

  let asked = 0;
  async function show() {
    const mine = ++asked;
    fill(number, String(current()));
    scrubber.value = index;
    scrubber.setAttribute("aria-valuetext", `frame ${current()}`);
    const images = layers.map((layer) => loaded(layer, current()));
    await Promise.all(images.map((image) => image.ready));
    // an older request may come in later
    if (mine !== asked) return;
    images.forEach((image, at) => {
      image.dataset.layer = layers[at];
      image.classList.toggle("cut", layers[at] === "after" && split !== null);
    });
    fill(stack, images);
    stack.setAttribute("aria-label", `Frame ${current()}: ${layers.join(", ")}`);
  }

  function go(to) {
    const next = Math.min(Math.max(to, 0), frames.length - 1);
    if (next === index) return;
    index = next;
    show();
    onFrame(current());
  }

  function toggle() {
    if (playing) {
      playing = null;
      fill(play, "▶");
      play.setAttribute("aria-label", "Play");
      return;
    }
    const run = (playing = {});
    fill(play, "❚❚");
    play.setAttribute("aria-label", "Pause");
    (async () => {
      while (playing === run && element.isConnected) {
        const next = (index + 1) % frames.length;
        await Promise.all([
          ...layers.map((layer) => loaded(layer, frames[next]).ready),
          new Promise((resolve) => setTimeout(resolve, PLAY_MS)),
        ]);
        if (playing !== run) break;
        index = next;
        await show();
        onFrame(current());
      }
    })();
  }

  function cut(at) {
    split = at;
    line.hidden = at === null;
    if (at !== null) {
      line.value = at * 1000;
      picture.style.setProperty("--split", `${at * 100}%`);
    }
  }

  scrubber.addEventListener("input", () => go(Number(scrubber.value)));
  play.addEventListener("click", toggle);
  exposure.addEventListener("input", () => {
    stops = Number(exposure.value);
    fill(stopsShown, stops > 0 ? `+${stops}` : String(stops));
    show();
  });
  exposure.parentElement.addEventListener("dblclick", () => {
    exposure.value = 0;
    exposure.dispatchEvent(new Event("input"));
  });
  line.addEventListener("input", () => cut(line.value / 1000));

  return {
    element, picture, over, controls,
    get frame() { return current(); },
    get index() { return index; },
    go, toggle, cut,
    seek: (frame) => go(frames.indexOf(frame)),
    step: (by) => go(index + by),
    get split() { return split; },
    /** Show these layers, the lowest first. */
    lay(names) {
      layers = names;
      return show();
    },
    get layers() { return layers; },
    reload() {
      cache.clear();
      return show();
    },
    /** Where an event is, 0 to 1 across and down the frame. */
    place(event) {
      const box = picture.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    },
  };
}
