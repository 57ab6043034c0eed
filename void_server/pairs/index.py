"""A page and a contact sheet to look through hundreds of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from ..api.files import write_atomically
from ..imaging import exr
from .layout import PLATE, TRUTH, PairFolder
from .preview import Picture, encoded, shown

PAGE, SHEET = "index.html", "contact_sheet.jpg"
_WIDTH, _COLUMNS = 240, 8

_STYLE = """
:root { color-scheme: dark }
body { background: #262626; color: #d0d0d0; font: 15px/1.5 system-ui, sans-serif; margin: 2rem }
h1 { font-size: 1.4rem; color: #f0f0f0 }
nav { position: sticky; top: 0; background: #262626; padding: .5rem 0 }
nav button { background: #3a3a3a; color: inherit; border: 0; border-radius: 3px;
  padding: .2rem .7rem; margin: 0 .4rem .4rem 0;
  font: inherit; cursor: pointer }
nav button[aria-pressed=true] { background: #f0aa28; color: #1f1f1f }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 640px), 1fr)); gap: 1.5rem }
article img { width: 100%; border-radius: 3px; display: block }
article h2 { font-size: 1rem; color: #f0f0f0; margin: .4rem 0 0 }
article p { margin: .1rem 0 }
.weak { color: #a0a0a0; font-size: .85rem }
.fault { border-left: 4px solid #f0aa28; background: #332d22; padding: .2rem .7rem; margin: .3rem 0 }
[hidden] { display: none }
"""
_SCRIPT = """
const buttons = document.querySelectorAll("nav button");
for (const button of buttons) button.onclick = () => {
  for (const other of buttons) other.setAttribute("aria-pressed", other === button);
  for (const pair of document.querySelectorAll("article"))
    pair.hidden = button.value !== "" && !pair.dataset.groups.split("|").includes(button.value);
};
"""


def write(folder: Path, pairs: Sequence[PairFolder], faults: Mapping[str, Sequence[str]]) -> None:
    """Write the page and the contact sheet into ``folder``; ``faults`` are those found, by the pairs' names."""
    write_atomically(folder / PAGE, _page(pairs, faults))
    if pairs:
        write_atomically(folder / SHEET, encoded(_sheet(pairs)))


def _page(pairs: Sequence[PairFolder], faults: Mapping[str, Sequence[str]]) -> str:
    articles, counts = [], dict[str, int]()
    for pair in pairs:
        facts = pair.facts()
        more = facts.model_extra or {}
        wrong = faults.get(pair.name, ())
        groups = [str(more.get("kind", "other")), *facts.effects, *(["with faults"] if wrong else [])]
        for group in dict.fromkeys(groups):
            counts[group] = counts.get(group, 0) + 1
        about = ", ".join(
            str(part)
            for part in (
                facts.camera,
                f"{facts.fps:g} fps",
                more.get("width") and f"{more['width']} x {more['height']}",
                *facts.effects,
                f"seed {more.get('seed', 'unknown')}",
            )
            if part
        )
        articles.append(
            f'<article data-groups="{escape("|".join(groups), quote=True)}"><img loading="lazy" '
            f'src="{escape(pair.name, quote=True)}/preview.jpg" alt="plate, truth, difference and mattes">'
            f"<h2>{escape(pair.name)}</h2>"
            + "".join(f'<p class="fault">{escape(one)}</p>' for one in wrong)
            + f"<p>{escape(facts.description)}</p><p>Without: {escape(facts.prompt)}</p>"
            f'<p class="weak">{escape(about)}</p></article>'
        )
    buttons = "".join(
        f'<button value="{escape(group, quote=True)}" aria-pressed="false">{escape(group)} {count}</button>'
        for group, count in sorted(counts.items())
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Pairs</title><style>{_STYLE}</style>'
        f"<h1>{len(pairs)} counterfactual pairs</h1>"
        "<p>Of each: plate, truth, their difference with changes outlined, the object (red) and what it affects.</p>"
        f'<nav><button value="" aria-pressed="true">all {len(pairs)}</button>{buttons}</nav>'
        f"<main>{''.join(articles)}</main><script>{_SCRIPT}</script></html>\n"
    )


def _sheet(pairs: Sequence[PairFolder]) -> Picture:
    """Plate over truth of the middle frame of each pair."""
    tiles = [_tile(pair) for pair in pairs]
    height = max(tile.shape[0] for tile in tiles)
    tiles = [np.pad(tile, ((0, height - tile.shape[0]), (0, 0), (0, 0))) for tile in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(_COLUMNS, len(tiles)))
    columns = min(_COLUMNS, len(tiles))
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


def _tile(pair: PairFolder) -> Picture:
    plates, truths = pair.sequence(PLATE), pair.sequence(TRUTH)
    frame = plates.frames[len(plates.frames) // 2]
    images = [
        exr.read_rgb(plates.path(frame)),
        exr.read_rgb(truths.path(truths.frames[0] if len(truths.frames) == 1 else frame)),
    ]
    height, width = images[0].shape[:2]
    small = [shown(image, (_WIDTH, round(_WIDTH * height / width))) for image in images]
    tile = np.ascontiguousarray(np.vstack(small))
    cv2.putText(tile, pair.name, (4, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (255, 255, 255), 1, cv2.LINE_AA)
    return tile
