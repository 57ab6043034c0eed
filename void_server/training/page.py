"""The page of a training: how far it is, its loss, and what it makes by now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .config import Training
from .examples import FOLDER

_STYLE = """
:root { color-scheme: dark }
body { background: #262626; color: #d0d0d0; font: 15px/1.5 system-ui, sans-serif; margin: 2.5rem auto;
  max-width: 1200px; padding: 0 1.5rem }
h1 { font-size: 1.5rem; color: #f0f0f0; margin: 0 }
h2 { font-size: 1rem; color: #f0f0f0; margin: 2.2rem 0 .6rem }
.warning { border-left: 4px solid #f0aa28; background: #332d22; padding: .6rem 1rem; margin: .6rem 0 }
.weak, th, figcaption, text { color: #a0a0a0; fill: #a0a0a0; font-weight: 400 }
svg { width: 100%; background: #1f1f1f; border-radius: 3px }
td, th { text-align: left; padding: .1rem 1.6rem .1rem 0 }
figure { margin: 0 0 1.2rem } img { max-width: 100%; border-radius: 3px }
"""
_WIDTH, _HEIGHT, _POINTS = 1000, 220, 500


def page(
    config: Training, entries: Sequence[Mapping[str, Any]], skipped: Mapping[str, str], results: Sequence[Path]
) -> str:
    """The page as HTML; its pictures lie beside it in the folder of examples."""
    done = entries[-1]["step"] if entries else 0
    seconds = float(np.median([entry["seconds"] for entry in entries[-100:]])) if entries else 0.0
    left = (config.run.steps - done) * seconds
    state = "done" if done == config.run.steps else f"about {_duration(left)} left"
    about = f"step {done} of {config.run.steps}, {seconds:.2f} s a step, {state}"
    refresh = "" if results else '<meta http-equiv="refresh" content="60">'
    warnings = [f"{name} was left out: {why}" for name, why in skipped.items()]
    settings = _flat(config.model_dump(mode="json"))
    rows = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in settings)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">{refresh}<title>{escape(config.out.name)}</title>
<style>{_STYLE}</style></head><body>
<h1>{escape(config.out.name)}</h1><p class="weak">{escape(about)}</p>
{"".join(f'<p class="warning">{escape(text)}</p>' for text in warnings)}
{"".join(f"<p>{escape(str(path))}</p>" for path in results)}
<h2>Loss</h2>{_curve(entries, "loss")}
<h2>Length of the gradient</h2>{_curve(entries, "norm")}
<h2>Learning rate</h2>{_curve(entries, "rate")}
<h2>Examples: plate, result, truth</h2>{"".join(_examples(config.out))}
<h2>Settings</h2><table>{"".join(rows)}</table>
</body></html>
"""


def _flat(data: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _curve(entries: Sequence[Mapping[str, Any]], name: str) -> str:
    """A curve over the steps: the means of neighbours, at most so many, from 0 to the highest."""
    if not entries:
        return ""
    parts = np.array_split(
        np.array([(entry["step"], entry[name]) for entry in entries], float), min(_POINTS, len(entries))
    )
    points = np.array([part.mean(axis=0) for part in parts])
    highest = float(points[:, 1].max()) or 1.0
    x = points[:, 0] / max(1.0, points[-1, 0]) * _WIDTH
    y = _HEIGHT * (1 - 0.95 * points[:, 1] / highest)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name} over the steps">'
        f'<polyline points="{line}" fill="none" stroke="#6ab0f3" stroke-width="1.5"/>'
        f'<text x="6" y="16" font-size="13">highest {highest:.4g}, last {points[-1, 1]:.4g}</text></svg>'
    )


def _examples(out: Path) -> Iterable[str]:
    """The latest pictures first."""
    for path in sorted((out / FOLDER).glob("[!.]*.jpg"), reverse=True):
        step, _, name = path.stem.partition(" ")
        words = escape(f"step {int(step)}, {name}")
        yield f'<figure><figcaption>{words}</figcaption><img src="{FOLDER}/{quote(path.name)}" alt="{words}"></figure>'


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"
