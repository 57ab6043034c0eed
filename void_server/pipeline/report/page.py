"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from ...api.shot import ROTO, title
from ...quadmask.classes import COLOURS, REMOVE
from .contact_sheet import LEGEND

_Classes = Mapping[str, Mapping[str, float]]

_STYLE = """
:root { color-scheme: dark; --ground: #262626; --deep: #1f1f1f; --text: #d0d0d0; --strong: #f0f0f0; --weak: #a0a0a0;
  --warning: #332d22 }
* { box-sizing: border-box }
body { background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 2.5rem auto;
  max-width: 1600px; padding: 0 1.5rem; overflow-wrap: break-word }
h1 { font-size: 1.5rem; font-weight: 600; color: var(--strong); margin: 0 }
h2 { font-size: 1rem; font-weight: 600; color: var(--strong); margin: 2.2rem 0 .6rem }
.about, .hint { color: var(--weak); margin: .2rem 0 1.6rem }
.hint { font-size: .85rem; margin: .4rem 0 0 }
.warning { border-left: 4px solid #f0aa28; background: var(--warning); padding: .6rem 1rem; margin: .6rem 0;
  white-space: pre-line }
.sheet { overflow-x: auto }
.sheet input { position: absolute; opacity: 0 }
.sheet img { width: 100%; display: block; border-radius: 3px; cursor: zoom-in }
.sheet input:focus-visible + img { outline: 2px solid #f0aa28 }
.sheet input:checked + img { width: auto; cursor: zoom-out }
.wide { overflow-x: auto }
.columns td { overflow-wrap: anywhere }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: .18rem 1.6rem .18rem 0; vertical-align: top; font-weight: 400; min-width: 4.5rem }
th { color: var(--weak) }
svg { width: 100%; height: 150px; background: var(--deep); border-radius: 3px; display: block }
.legend span { display: inline-block; margin: .5rem 1.4rem 0 0 }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .45rem; vertical-align: -1px }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 0 2.5rem }
summary { cursor: pointer; color: var(--weak); margin-top: .6rem }
@media (max-width: 40rem) {
  body { margin: 1rem auto; padding: 0 .8rem }
  td, th { padding-right: .9rem }
  .sheet img { width: auto; max-width: none; max-height: 85vh }
  .sheet input:checked + img { max-height: none }
}
@media print {
  :root { color-scheme: light; --ground: #fff; --deep: #f4f4f4; --text: #222; --strong: #000; --weak: #555;
    --warning: #fff3dc }
  @page { size: landscape; margin: 12mm }
  body { margin: 0; max-width: none; padding: 0; font-size: 10pt }
  .sheet, .wide { overflow: visible }
  .sheet img, .sheet input:checked + img { width: auto; height: auto; max-width: 100%; max-height: 160mm }
  .hint, details { display: none }
  .warning, svg, .legend i { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  .warning, .sheet, svg, tr { break-inside: avoid }
  h2, tr:first-child { break-after: avoid }
}
"""


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    cells = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def document(title: str, body: str) -> str:
    """A whole page around ``body``, which is HTML: nothing in it is run, or fetched from anywhere."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
{body}
</body></html>
"""


def listing(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table with a line of names above; on a narrow page it scrolls by itself."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _chart(classes: _Classes, names: Mapping[int, str]) -> str:
    """The share of each class in ``names``, frame by frame, stacked; the highest column fills the height."""
    highest = max((1 - shares["keep"] for shares in classes.values()), default=0) or 1
    bars = []
    for number, (frame, shares) in enumerate(classes.items()):
        bottom = 100.0
        for code, name in names.items():
            height = 96 * shares[LEGEND[code]] / highest
            bottom -= height
            bars.append(
                f'<rect x="{number}" y="{bottom:.2f}" width="1.02" height="{height:.2f}" fill="{_hex(COLOURS[code])}">'
                f"<title>frame {escape(frame)}: {name} {shares[LEGEND[code]]:.2%}</title></rect>"
            )
    legend = "".join(f'<span><i style="background:{_hex(COLOURS[c])}"></i>{n}</span>' for c, n in names.items())
    return (
        f'<svg viewBox="0 0 {len(classes)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="share of each class">{"".join(bars)}</svg>'
        f'<div class="legend">{legend}<span>full height: {highest:.1%} of the frame</span></div>'
    )


def _class_table(classes: _Classes, names: Mapping[int, str]) -> str:
    columns = [*(LEGEND[code] for code in names), "keep"]
    rows = [[frame, *(f"{shares[name]:.2%}" for name in columns)] for frame, shares in classes.items()]
    return listing(["frame", *names.values(), "keep"], rows)


def _regions(regions: Iterable[Mapping[str, Any]]) -> str:
    """Why each region is in the quadmask."""
    rows = []
    for region in regions:
        frames = sorted(map(int, region["frames"]))
        where = f"{frames[0]}-{frames[-1]}" if frames else "nowhere"
        sure = "" if region["confidence"] is None else f"{region['confidence']:.0%}"
        rows.append((region["name"], region["kind"], region["why"], region["rule"], where, sure))
    if not rows:
        return ""
    names = ("region", "kind", "why", "found by", "frames", "sure")
    return f"<h2>Why it is affected</h2>{listing(names, rows)}"


def _origins(origin: Mapping[str, float]) -> str:
    """Where the new pixels come from."""
    words = {
        "recovered": "seen in other frames",
        "filled": "hidden in every frame: filled in from around them",
        "generated": "made by a model",
    }
    rows = [(name, f"{share:.1%}", words[name]) for name, share in origin.items() if share]
    return f"<h2>Where the new pixels come from</h2>{listing(('origin', 'share', ''), rows)}" if rows else ""


def _disclosure(said: Mapping[str, Any]) -> str:
    """What a client may want to be told: the tools, and the frames in which a model has a part."""
    generated = [int(frame) for frame, one in said["frames"].items() if one["generative"]]
    words = f"in {len(generated)} of {len(said['frames'])} frames" if generated else "none"
    away = ", ".join(sorted({f"{one['what']}, to {one['to']}" for one in said["sent"]})) or "nothing"
    facts = [
        ("generated pixels", words),
        ("left the studio", away),
        ("made by", f"{said['who']} on {said['machine']}"),
        ("when", said["when"]),
    ]
    rows = [
        (
            one["part"],
            one["title"],
            _words(one["generative"]),
            _words(one["cloud"]),
            one["model"],
            one["licence"],
            "; ".join(f"{name} {digest[:12]}" for name, digest in one["weights"].items()),
        )
        for one in said["tools"]
    ]
    names = ("part", "made with", "generative", "cloud", "model", "licence", "weights (SHA-256)")
    return f"<h2>Disclosure</h2>{_table(facts)}{listing(names, rows) if rows else ''}"


def _edits(edits: Iterable[Mapping[str, Any]]) -> str:
    """Who has corrected the quadmask, when and how."""
    rows = []
    for edit in edits:
        what = [*edit.get("grid", []), *(f"{name} {edit[name]}" for name in ("add", "protect", "undo") if name in edit)]
        rows.append((edit["when"], edit["who"], ", ".join(what), edit.get("why", ""), edit["frames_changed"]))
    if not rows:
        return ""
    return f"<h2>Corrections</h2>{listing(('when', 'who', 'what', 'why', 'frames changed'), rows)}"


def _prompt(prompt: Mapping[str, Any]) -> str:
    at = prompt.get("called") or ",".join(f"{value:g}" for value in prompt["at"])
    return f"{prompt['kind']} {at} in {prompt['frame']}"


def _words(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _settings(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    shot = {name: value for name, value in manifest["shot"].items() if value and name != "settings"}
    shot["prompts"] = ", ".join(map(_prompt, manifest["shot"]["prompts"]))
    shot["scene, by the reasoner"] = manifest["scene"]
    rows = {**shot, **manifest["settings"], "brightest value of the plate": f"{manifest['colour']['maximum']:.4g}"}
    for name in ("engine", "reasoner"):
        if name in rows:
            rows[name] = f"{rows[name]}: {title(rows[name])}"
    return [(name.replace("_", " "), _words(value)) for name, value in rows.items() if value not in (None, "")]


def page(
    manifest: Mapping[str, Any],
    sheet: bytes,
    regions: Sequence[Mapping[str, Any]],
    disclosed: Mapping[str, Any],
) -> str:
    """The page for the job that ``manifest`` describes, with the contact sheet (PNG), the reasoner's regions, and what
    is disclosed.

    Of the settings it shows only those that applied.
    """
    frames, shot = manifest["frames"], manifest["shot"]
    title = f"{PurePath(shot['plate']).name} {frames[0]}-{frames[-1]}"
    only_roto = shot["settings"]["until"] == ROTO
    names = {REMOVE: "roto"} if only_roto else LEGEND
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in manifest["warnings"])
    picture = base64.b64encode(sheet).decode()
    timings = [(name, f"{seconds:.1f} s") for name, seconds in manifest["timings"].items()]
    made_with = [*manifest["software"].items(), *((f"{name} on", words) for name, words in manifest["device"].items())]
    body = f"""<h1>{escape(title)}</h1>
<p class="about">VOID job {escape(manifest["id"])}, {len(frames)} frames</p>
{warnings}
<div class="sheet"><label><input type="checkbox" aria-label="full size"><img
alt="contact sheet: a column for each frame" src="data:image/png;base64,{picture}"></label></div>
<p class="hint">Click the sheet for its full size.</p>
{_regions(regions)}
{_edits(manifest["edits"])}
{_disclosure(disclosed)}
{_origins(manifest["origin"])}
<h2>{"Share of the roto" if only_roto else "Share of each class"}</h2>
{_chart(manifest["classes"], names)}
<details><summary>Figures for each frame</summary>{_class_table(manifest["classes"], names)}</details>
<div class="columns">
<div><h2>Settings</h2>{_table(_settings(manifest))}</div>
<div><h2>Time</h2>{_table(timings)}<h2>Made with</h2>{_table(made_with)}</div>
</div>"""
    return document(title, body)
