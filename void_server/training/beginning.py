"""What a training began with. One that goes on must agree in all of it, or its weights would be of two makes."""

from __future__ import annotations

import json
from typing import Any

from accelerate import Accelerator

from ..api.errors import SettingError
from ..api.files import read_json
from ..engines.void.weights import Weights, digest
from . import learner
from .config import Training
from .state import is_kept
from .store import Prepared, writing

_KNOWN = "training.json"
_CLIPS = "clips"


def check_settings(config: Training) -> None:
    """Raise :class:`SettingError` where the folder is that of a training with other settings."""
    if (before := _before(config)) is not None:
        _compare(config, before["settings"], config.deciding)


def agree(config: Training, weights: Weights, prepared: Prepared, accelerator: Accelerator) -> None:
    """Note what a training begins with. Raises :class:`SettingError` where one that goes on began with something else.

    Where the pairs lie is of no account, what is in them is.
    """
    now = {
        "settings": config.deciding,
        "processes": accelerator.num_processes,
        "checkpoint": {path.name: digest(path) for path in learner.start_files(config, weights)},
        # each file is called after all that was encoded
        _CLIPS: [[item.name, item.latents.stem, item.prompt.stem] for item in prepared.items],
    }
    before = _before(config)
    if before is None:
        with writing(config.out / _KNOWN) as temporary:
            temporary.write_text(json.dumps(now, indent=1), encoding="utf-8")
        return
    _compare_clips(config, before.pop(_CLIPS), now.pop(_CLIPS))
    _compare(config, before, now)


def _before(config: Training) -> Any:
    """What the training in the folder began with; None where nothing of it is kept, so that it may be any."""
    known = config.out / _KNOWN
    if not is_kept(config.out):
        return None
    try:
        found = read_json(known)
        return {name: found[name] for name in ("settings", "processes", "checkpoint", _CLIPS)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{known} cannot be read ({error}); choose another out.") from error


def _compare(config: Training, before: Any, now: Any) -> None:
    flat_before, flat_now = _flat(before), _flat(now)
    for name in sorted(flat_before.keys() | flat_now.keys()):
        was, wanted = flat_before.get(name), flat_now.get(name)
        if was != wanted:
            raise SettingError(
                f"{config.out} is the folder of a training with {name} = {was!r}, not {wanted!r}; "
                "set it back to go on with that one, or choose another out."
            )


def _flat(data: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {name: data}
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{name}.{key}" if name else key)
    return found


def _compare_clips(config: Training, before: list[list[str]], now: list[list[str]]) -> None:
    differing = sorted({(*one,) for one in before} ^ {(*one,) for one in now})
    names = [name for name, *_ in differing] or (["their order"] if before != now else [])
    if names:
        raise SettingError(
            f"{config.out} is the folder of a training with other clips: {names[0]} is not as it was when that "
            "began. Put the pairs back as they were to go on with it, or choose another out."
        )
