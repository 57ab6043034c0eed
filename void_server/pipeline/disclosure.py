"""What a studio must tell of a version: with which engine, model and weights each frame was made, by whom, and where.

A client's rules for generated pixels ask for it, and people who never saw the code read it: plain words, no codes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..api.account import user
from ..api.files import write_atomically
from ..api.shot import PLATE, ROTO, title
from ..api.version import VersionFolder
from ..engines import Engine, origin
from ..quadmask import reasoners
from . import origins
from .context import JobContext
from .inputs import to_be_segmented

SCHEMA = 1
#: The digital source types of the IPTC, by whether a model made pixels (cv.iptc.org/newscodes/digitalsourcetype).
GENERATIVE, COMPOSITE = "compositeWithTrainedAlgorithmicMedia", "compositeCapture"


def describe(context: JobContext, manifest: Mapping[str, Any], made_of: origins.Counts) -> dict[str, Any]:
    """The disclosure of a job that ``manifest`` describes; ``made_of`` counts the origins of its frames' pixels."""
    shot, engine = context.shot, context.engine
    has_result = shot.settings.until == PLATE
    frames = {str(frame): _frame(context, frame, made_of.get(frame, ())) for frame in context.frames if has_result}
    generated = any(one["generative"] for one in frames.values())
    return {
        "schema": SCHEMA,
        "job": manifest["id"],
        "plate": shot.plate,
        "until": shot.settings.until,
        "frames": frames,
        "range": [context.frames[0], context.frames[-1]],
        "generative": generated,
        "source_type": GENERATIVE if generated else COMPOSITE,
        "tools": _tools(context, manifest, engine),
        "sent": manifest["sent"],
        "share": manifest["origin"],
        "who": context.version.submitter() or user(),
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": platform.node(),
        "devices": manifest["device"],
        "software": manifest["software"],
    }


def _frame(context: JobContext, frame: int, counts: Any) -> dict[str, Any]:
    """A frame's engine, and which share of all its pixels is new, and where those come from."""
    window = context.plate_window(frame)
    whole = max(1, window.width * window.height)
    shares = {name: round(count / whole, 6) for name, count in zip(origin.NAMES.values(), counts, strict=False)}
    touched = any(counts)
    return {
        "engine": context.shot.settings.engine if touched else "",
        "generative": touched and context.engine.generative,
        **{name: shares.get(name, 0.0) for name in origin.NAMES.values()},
    }


def _tools(context: JobContext, manifest: Mapping[str, Any], engine: Engine) -> list[dict[str, Any]]:
    """What took part, the roto's maker first."""
    shot = context.shot
    tools: list[dict[str, Any]] = []
    if to_be_segmented(shot):
        tools.append(_tool("roto", shot.settings.segmenter))
    if shot.settings.until != ROTO and not shot.quadmask:
        reasoner = reasoners.find(shot.settings.reasoner)
        asked = manifest["sent"]
        models = sorted({f"{one['model']} at {one['to']}" for one in asked})
        tools.append(_tool("quadmask", shot.settings.reasoner, cloud=reasoner.cloud, model="; ".join(models)))
    if shot.settings.until == PLATE:
        weights = {name: value for name, value in manifest["engine"].items() if name != "device"}
        tools.append(
            _tool(
                "plate",
                shot.settings.engine,
                generative=engine.generative,
                model=engine.model,
                licence=engine.licence,
                weights=weights,
            )
        )
    return tools


def _tool(part: str, name: str, **said: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"generative": False, "cloud": False, "model": "", "licence": "", "weights": {}}
    return {"part": part, "name": name, "title": title(name), **nothing, **said}


def write(version: VersionFolder, disclosure: Mapping[str, Any]) -> None:
    """Write a version's disclosure."""
    write_atomically(version.disclosure, json.dumps(disclosure, indent=2))
