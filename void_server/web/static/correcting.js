// Corrections of the quadmask, drawn over the frame: cells of the grid, and strokes of a brush.

const SVG = "http://www.w3.org/2000/svg";
const ALONG_SHORT_SIDE = 8;

/** Rows and columns of the grid, as void_server.api.cells.counts. */
export function counts(width, height) {
  const of = (share) => Math.max(ALONG_SHORT_SIDE, Math.floor(ALONG_SHORT_SIDE * share + 0.5));
  return [of(height / width), of(width / height)];
}

/**
 * Corrections on `shot` in a viewer. `tool()` says how: `{way: "cells" or "brush", what: "affected" or "keep", radius,
 * all}`, null for not at all; `all` frames, or the one that is shown. `onChange()` hears of every change.
 */
export function correcting(view, shot, tool, onChange) {
  const { width, height, frames } = shot;
  const [rows, columns] = counts(width, height);
  const layer = document.createElementNS(SVG, "g");
  const grid = document.createElementNS(SVG, "path");
  const drawnLayer = document.createElementNS(SVG, "g");
  grid.setAttribute("class", "grid");
  layer.append(drawnLayer, grid);
  view.over.append(layer);
  let done = [], stroke = null, last = "";

  function draw() {
    const now = tool();
    drawnLayer.replaceChildren();
    grid.setAttribute("d", now?.way === "cells" ? gridPath() : "");
    for (const one of done.filter(({ first, last: end }) => first <= view.frame && view.frame <= end)) drawnLayer.append(shape(one));
    if (stroke) drawnLayer.append(shape(stroke));
  }

  function gridPath() {
    const across = Array.from({ length: columns + 1 }, (_, n) => `M${(n * width) / columns} 0V${height}`);
    const down = Array.from({ length: rows + 1 }, (_, n) => `M0 ${(n * height) / rows}H${width}`);
    return [...across, ...down].join("");
  }

  function shape(one) {
    if ("row" in one) {
      const cell = document.createElementNS(SVG, "rect");
      const box = { x: (one.column * width) / columns, y: (one.row * height) / rows, width: width / columns, height: height / rows };
      for (const [name, value] of Object.entries(box)) cell.setAttribute(name, value);
      cell.setAttribute("class", `cell ${one.what}`);
      return cell;
    }
    const line = document.createElementNS(SVG, "polyline");
    // a dot is a line of no length
    const points = one.points.length > 1 ? one.points : [one.points[0], one.points[0]];
    line.setAttribute("points", points.map((point) => point.join(",")).join(" "));
    line.setAttribute("stroke-width", 2 * one.radius);
    line.setAttribute("class", `stroke ${one.what}`);
    return line;
  }

  const range = (now) => (now.all ? { first: frames[0], last: frames.at(-1) } : { first: view.frame, last: view.frame });
  const cellAt = ([u, v]) => [Math.min(rows - 1, Math.max(0, Math.floor(v * rows))), Math.min(columns - 1, Math.max(0, Math.floor(u * columns)))];

  function touch(place) {
    const now = tool();
    const [row, column] = cellAt(place);
    if (`${row} ${column}` === last) return;
    last = `${row} ${column}`;
    const where = range(now);
    const before = done.find((one) => one.row === row && one.column === column && one.first === where.first && one.last === where.last);
    done = done.filter((one) => one !== before);
    // the same again takes it back
    if (before?.what !== now.what) done.push({ row, column, what: now.what, ...where });
    draw();
    onChange();
  }

  view.picture.addEventListener("pointerdown", (event) => {
    const now = tool();
    if (!now || event.button || event.target.matches("input")) return;
    event.preventDefault();
    view.picture.setPointerCapture(event.pointerId);
    const place = view.place(event);
    last = "";
    if (now.way === "cells") {
      stroke = null;
      view.picture.dataset.touching = "1";
      touch(place);
    } else {
      stroke = { what: now.what, radius: now.radius, points: [pixels(place)], ...range(now) };
      draw();
    }
  });
  view.picture.addEventListener("pointermove", (event) => {
    if (stroke) {
      stroke.points.push(pixels(view.place(event)));
      draw();
    } else if (view.picture.dataset.touching) touch(view.place(event));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.picture.addEventListener(end, () => {
      delete view.picture.dataset.touching;
      if (!stroke) return;
      done.push(stroke);
      stroke = null;
      draw();
      onChange();
    });
  }

  const pixels = ([u, v]) => [Math.round(u * width * 10) / 10, Math.round(v * height * 10) / 10];

  return {
    draw,
    get count() { return done.length; },
    /** As the server wants them. */
    get cells() {
      return done.filter((one) => "row" in one).map((one) => `${one.first}-${one.last}:r${one.row}c${one.column}=${one.what}`);
    },
    get strokes() { return done.filter((one) => "points" in one); },
    hide: (hidden) => layer.toggleAttribute("hidden", hidden),
    undo() { done.pop(); draw(); onChange(); },
    clear() { done = []; draw(); onChange(); },
  };
}
