// Where a shot begins: dropped, chosen, or the sample.

import { get, post, send } from "./api.js";
import { button, make, tell } from "./dom.js";
import { progressBar } from "./progress.js";
import { frames, percent } from "./words.js";

export async function bringView(hello) {
  const shots = await get("shots");
  const progress = progressBar();
  const chooser = make("input", { type: "file", multiple: true, accept: hello.suffixes.join(","), id: "files", className: "visually-hidden" });
  const drop = make(
    ".drop", {},
    make("p.big", {}, "Drop a movie or an image sequence here"),
    make("p.hint", {}, "EXR, PNG, TIFF, JPEG, or a movie. It stays on this machine and on your VOID server."),
    make(".row", {}, make("label.button", { htmlFor: "files" }, "Choose files"), chooser, button("Use the sample shot", useSample, { quiet: true })),
    progress.element,
  );
  const bring = (files) => take([...files], progress).catch(tell).finally(progress.hide);
  chooser.addEventListener("change", () => bring(chooser.files));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    bring(await filesOf(event.dataTransfer));
  });

  async function useSample() {
    progress.say("Drawing the sample shot; this takes some seconds.");
    try {
      location.hash = `#/shots/${(await post("samples")).id}`;
    } finally {
      progress.hide();
    }
  }

  return make(
    "section.narrow", {},
    make("h1", {}, "Remove something from a shot"),
    make("p.lead", {}, "Together with everything that it did to the scene: its shadow, its reflection, what it knocked over."),
    drop,
    shots.length > 0 && make("h2", {}, "Shots you brought"),
    shots.length > 0 && make("ul.shots", {}, shots.map(card)),
  );
}

function card(shot) {
  const middle = shot.frames[Math.floor(shot.frames.length / 2)];
  const picture = make("img", { alt: "", loading: "lazy", src: `/api/shots/${shot.id}/frames/${middle}?colorspace=${encodeURIComponent(shot.colorspace)}` });
  const words = `${shot.width} × ${shot.height}, ${frames(shot.frames)}`;
  return make("li", {}, make("a", { href: `#/shots/${shot.id}` }, picture, make("strong", {}, shot.name), make("span.hint", {}, words)));
}

/** Send files as a new shot, and open it. */
async function take(files, progress) {
  if (!files.length) return;
  const { id } = await post("shots");
  const total = files.reduce((sum, file) => sum + file.size, 0) || 1;
  let sent = 0;
  for (const file of files) {
    await send(`shots/${id}/files/${encodeURIComponent(file.name)}`, file, (share) => {
      const whole = (sent + share * file.size) / total;
      progress.say(`Sending ${file.name}, ${percent(whole)}`, whole);
    });
    sent += file.size;
  }
  progress.say("Reading the frames.");
  const shot = await post(`shots/${id}/ready`, { name: nameOf(files) });
  location.hash = `#/shots/${shot.id}`;
}

/** What a shot of these files is called: the file, or what its frames have in common. */
function nameOf(files) {
  return files.length === 1 ? files[0].name : files[0].name.replace(/[._-]?\d+(\.[^.]+)$/, "$1");
}

/** The files that were dropped, those in folders too. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesIn))).flat().filter((file) => !file.name.startsWith("."));
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  // a reader gives a hundred entries at a time
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return (await Promise.all(found.map(filesIn))).flat();
    found.push(...some);
  }
}
