"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from .contact_sheet import COLOURS, LEGEND

_STYLE = """
:root { color-scheme: dark }
body { background: #262626; color: #d0d0d0; font: 15px/1.5 system-ui, sans-serif; margin: 2.5rem auto;
  max-width: 1180px; padding: 0 1.5rem }
h1 { font-size: 1.5rem; font-weight: 600; color: #f0f0f0; margin: 0 }
h2 { font-size: 1rem; font-weight: 600; color: #f0f0f0; margin: 2.2rem 0 .6rem }
.about { color: #999; margin: .2rem 0 1.6rem }
.warning { border-left: 4px solid #f0aa28; background: #332d22; padding: .6rem 1rem; margin: .6rem 0 }
img { width: 100%; display: block; border-radius: 3px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: .18rem 1.6rem .18rem 0; vertical-align: top; font-weight: 400 }
th { color: #999 }
td { overflow-wrap: anywhere }
svg { width: 100%; height: 150px; background: #1f1f1f; border-radius: 3px; display: block }
.legend span { display: inline-block; margin: .5rem 1.4rem 0 0 }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .45rem; vertical-align: -1px }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 0 2.5rem }
summary { cursor: pointer; color: #999; margin-top: .6rem }
@media print { body { background: #fff; color: #222 } :root { color-scheme: light } h1, h2 { color: #000 } }
"""


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    cells = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _chart(classes: Mapping[str, Mapping[str, float]]) -> str:
    """The share of each class but keep, frame by frame, stacked; the highest column fills the height."""
    highest = max((1 - shares["keep"] for shares in classes.values()), default=0) or 1
    bars = []
    for number, (frame, shares) in enumerate(classes.items()):
        bottom = 100.0
        for code, name in LEGEND.items():
            height = 96 * shares[name] / highest
            bottom -= height
            bars.append(
                f'<rect x="{number}" y="{bottom:.2f}" width="1.02" height="{height:.2f}" fill="{_hex(COLOURS[code])}">'
                f"<title>frame {escape(frame)}: {name} {shares[name]:.2%}</title></rect>"
            )
    legend = "".join(f'<span><i style="background:{_hex(COLOURS[c])}"></i>{n}</span>' for c, n in LEGEND.items())
    return (
        f'<svg viewBox="0 0 {len(classes)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="share of each class">{"".join(bars)}</svg>'
        f'<div class="legend">{legend}<span>full height: {highest:.1%} of the frame</span></div>'
    )


def _class_table(classes: Mapping[str, Mapping[str, float]]) -> str:
    names = [*LEGEND.values(), "keep"]
    head = "".join(f"<th>{name}</th>" for name in ["frame", *names])
    rows = "".join(
        f"<tr><td>{escape(frame)}</td>" + "".join(f"<td>{shares[name]:.2%}</td>" for name in names) + "</tr>"
        for frame, shares in classes.items()
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _regions(regions: Iterable[Mapping[str, Any]]) -> str:
    """Why each region is in the quadmask."""
    rows = []
    for region in regions:
        frames = sorted(map(int, region["frames"]))
        where = f"{frames[0]}-{frames[-1]}" if frames else "nowhere"
        sure = "" if region["confidence"] is None else f"{region['confidence']:.0%}"
        cells = (region["name"], region["kind"], region["why"], region["rule"], where, sure)
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    if not rows:
        return ""
    names = ("region", "kind", "why", "found by", "frames", "sure")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<h2>Why it is affected</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _prompt(prompt: Mapping[str, Any]) -> str:
    at = ",".join(f"{value:g}" for value in prompt["at"])
    return f"{prompt['kind']} {at} in {prompt['frame']}"


def _settings(manifest: Mapping[str, Any]) -> list[tuple[str, Any]]:
    shot = dict(manifest["shot"])
    settings = shot.pop("settings")
    shot["prompts"] = ", ".join(map(_prompt, shot["prompts"]))
    given = [(name, value) for name, value in shot.items() if value not in (None, "")]
    return [*given, *settings.items(), ("brightest value", f"{manifest['colour']['maximum']:.4g}")]


def page(manifest: Mapping[str, Any], sheet: bytes, regions: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page for the job that ``manifest`` describes, with the contact sheet (PNG) and the reasoner's regions."""
    frames, shot = manifest["frames"], manifest["shot"]
    title = f"{PurePath(shot['plate']).name} {frames[0]}-{frames[-1]}"
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in manifest["warnings"])
    picture = base64.b64encode(sheet).decode()
    timings = [(name, f"{seconds:.1f} s") for name, seconds in manifest["timings"].items()]
    made_with = [*manifest["software"].items(), ("device", manifest["device"])]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p class="about">VOID job {escape(manifest["id"])}, {len(frames)} frames</p>
{warnings}
<img alt="contact sheet: plate, quadmask, result, difference" src="data:image/png;base64,{picture}">
{_regions(regions)}
<h2>Share of each class</h2>
{_chart(manifest["classes"])}
<details><summary>Figures for each frame</summary>{_class_table(manifest["classes"])}</details>
<div class="columns">
<div><h2>Settings</h2>{_table(_settings(manifest))}</div>
<div><h2>Time</h2>{_table(timings)}<h2>Made with</h2>{_table(made_with)}</div>
</div>
</body></html>
"""
