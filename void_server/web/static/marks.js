// Points and boxes on the thing to remove, drawn over the frame.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 0.01;

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/**
 * Marks on `shot` in a viewer. `kind()` is point, not or box, empty for none; `onChange()` hears of every change.
 * `prompts` are as the server wants them, in pixels of the plate.
 */
export function marks(view, shot, kind, onChange) {
  const { width, height } = shot;
  let prompts = [], begun = null;
  const layer = shape("g", { class: "marks" });
  view.over.setAttribute("viewBox", `0 0 ${width} ${height}`);
  view.over.append(layer);
  const unit = () => width / (view.picture.clientWidth || width);

  function draw() {
    layer.replaceChildren();
    for (const prompt of prompts.filter((one) => one.frame === view.frame && one.kind !== "named")) layer.append(...drawn(prompt));
  }

  function drawn({ kind: what, at }) {
    if (what === "box") {
      const [left, top, right, bottom] = at;
      return [shape("rect", { x: left, y: top, width: right - left, height: bottom - top, class: "box" })];
    }
    const [x, y] = at, size = 9 * unit();
    const cross = what === "point" ? `M${x - size / 2} ${y}h${size}M${x} ${y - size / 2}v${size}` : `M${x - size / 2} ${y}h${size}`;
    return [shape("circle", { cx: x, cy: y, r: size, class: what }), shape("path", { d: cross, class: "sign" })];
  }

  const pixels = ([u, v]) => [clamp(u) * width, clamp(v) * height];
  const clamp = (value) => Math.min(Math.max(value, 0), 0.9999);

  view.picture.addEventListener("pointerdown", (event) => {
    if (!kind() || event.button || event.target.matches("input")) return;
    event.preventDefault();
    begun = view.place(event);
    view.picture.setPointerCapture(event.pointerId);
  });
  view.picture.addEventListener("pointermove", (event) => {
    if (!begun || kind() !== "box") return;
    draw();
    layer.append(...drawn({ kind: "box", at: boxOf(begun, view.place(event)) }));
  });
  view.picture.addEventListener("pointerup", (event) => {
    if (!begun) return;
    const from = begun, to = view.place(event), what = kind();
    begun = null;
    if (what === "box") {
      const small = Math.abs(from[0] - to[0]) < LEAST || Math.abs(from[1] - to[1]) < LEAST;
      if (!small) {
        prompts = prompts.filter((one) => one.kind !== "box" || one.frame !== view.frame);
        add("box", boxOf(from, to));
      }
    } else add(what, pixels(from));
    draw();
  });

  function boxOf(from, to) {
    const [one, other] = [pixels(from), pixels(to)];
    return [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[0], other[0]), Math.max(one[1], other[1])];
  }

  function add(what, at) {
    prompts.push({ frame: view.frame, kind: what, at: at.map((value) => Math.round(value * 10) / 10) });
    onChange();
  }

  return {
    draw,
    /** Have what is called so in this frame found by name; nothing for no name. */
    name(called) {
      prompts = prompts.filter((one) => one.kind !== "named");
      if (called) prompts.push({ frame: view.frame, kind: "named", at: [], called });
      onChange();
    },
    get called() { return prompts.find((one) => one.kind === "named")?.called ?? ""; },
    get prompts() { return prompts; },
    set prompts(given) { prompts = given; draw(); },
    undo() { prompts.pop(); draw(); onChange(); },
    clear() { prompts = []; draw(); onChange(); },
    hide: (hidden) => layer.toggleAttribute("hidden", hidden),
  };
}
