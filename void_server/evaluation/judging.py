"""An evaluation: shots, the results for each, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from .. import plugins
from ..api.errors import SequenceError, SettingError, VoidError
from ..api.shot import Settings
from ..imaging import sequence
from ..imaging.colour import ColourSpace
from ..pairs import PairFolder, layout, pairs_in
from . import material, results, suite
from .baselines import BASELINES
from .material import Material
from .results import Result
from .scoring import GROUPS, MEASURES, Score, installed, score

RESULT = "result"
#: The methods that are judged; the others are what they are compared with.
JUDGED = (RESULT, *suite.METHODS)
#: Called with the name of the shot and the method that is looked at.
Report = Callable[[str, str], None]
#: Makes the result of a method.
Maker = Callable[[], Result]


@dataclass(frozen=True)
class Wanted:
    """How to judge: ``baselines`` and ``measures`` by name, the ``frames``; ``work`` is a folder for their jobs."""

    baselines: tuple[str, ...]
    measures: tuple[str, ...]
    frames: tuple[int, ...]
    work: Path
    report: Report

    def check(self) -> None:
        """Raise :class:`SettingError` for a baseline or a measure that there is not, or that cannot be taken here."""
        known = (*BASELINES, *plugins.engines())
        for name in self.baselines:
            if name not in known:
                raise SettingError(f"There is no baseline {name!r}; choose from {', '.join(known)}.")
        for name in self.measures:
            if name not in (one.name for one in MEASURES):
                raise SettingError(f"There is no measure {name!r}; choose from {', '.join(m.name for m in MEASURES)}.")
            if name not in installed():
                raise SettingError(
                    f"The measure {name} needs what is not installed here; docs/evaluation.md says what."
                )


@dataclass(frozen=True)
class Judged:
    """One shot with the scores of all methods, those that are judged first; ``results`` are those that lie in files."""

    material: Material
    results: Mapping[str, Result]
    scores: Sequence[Score]
    notes: Sequence[str]
    #: Why a method has no score.
    failures: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The shot's."""
        return self.material.name


def given(
    named: Path,
    truth: Path | None,
    wanted: Wanted,
    colour: ColourSpace,
    *,
    plate: str = "",
    quadmask: str = "",
) -> Iterator[Judged]:
    """Judge what lies in files: ``named`` is a version folder, a folder of them, or a sequence.

    ``truth`` is a pair, a folder of pairs or a sequence; None where there is none. ``plate`` and ``quadmask`` name what
    plain sequences do not say. Raises :class:`~void_server.api.errors.InputError` naming what is wrong or missing.
    """
    # all are looked at before the first is judged, which may take long
    for shot, result in list(_matched(named, truth, wanted, colour, plate, quadmask)):
        notes = list(shot.notes)
        if shot.truth is None:
            notes.append(
                "There is no truth: only drift and seam are measured, which say whether a result is steady and joins "
                "its surroundings, not whether it is right."
            )
        if layout.PLATE not in shot.sources:
            notes.append("The plate is not known: there are no baselines, and nothing says what was left untouched.")
        if not any(name in shot.sources for name in (layout.CHANGE, layout.QUADMASK, layout.EFFECTS)):
            notes.append("Nothing says what changes: figures are of whole frames; give --quadmask.")
        beyond = [frame for frame in result.source.frames if frame not in shot.frames] if result.source else []
        if beyond and not wanted.frames:
            notes.append(
                f"Frame {sequence.format_frames(beyond)} of the result is not judged: there is none to judge it by."
            )
        yield _judge(shot, {RESULT: partial(_as_it_is, result)}, wanted, notes)


def suites(folder: Path, settings: Settings, wanted: Wanted, only: str = "") -> Iterator[Judged]:
    """Have the engine of ``settings`` do every pair in ``folder`` whose name contains ``only``, and judge it.

    Each is done with the true quadmask and with the reasoner's. A job that fails is told of in the shot's failures.
    Raises :class:`~void_server.api.errors.InputError` where there is no such pair, or one that cannot be read.
    """
    # no truth has the grain that is added to new pixels
    settings = replace(settings, grain=False)
    # with the true quadmask it is judged as such
    wanted = replace(wanted, baselines=tuple(name for name in wanted.baselines if name != settings.engine))
    pairs = [pair for pair in _pairs(folder) if only in pair.name]
    if not pairs:
        raise SequenceError(f"No pair in {folder} has {only!r} in its name.")
    for shot in [material.of_pair(pair, wanted.frames) for pair in pairs]:
        jobs = {name: partial(suite.removed, shot, wanted.work / shot.name, settings, name) for name in suite.METHODS}
        yield _judge(shot, jobs, wanted, shot.notes)


def _judge(shot: Material, makers: Mapping[str, Maker], wanted: Wanted, notes: Iterable[str]) -> Judged:
    scores, made, failures = [], {}, []
    for method, make in {**makers, **_baselines(shot, wanted)}.items():
        wanted.report(shot.name, method)
        try:
            result = make()
            scores.append(score(shot, result, wanted.measures))
        except VoidError as error:
            failures.append(f"{method}: {error}")
            continue
        if result.source is not None:
            made[method] = result
    if shot.truth is not None:
        reference = results.of_pictures(shot, "truth", shot.truth)
        own = [name for name in ("drift", "seam") if not wanted.measures or name in wanted.measures]
        if own:
            scores.append(score(shot, reference, own))
    notes = [*notes, *(note for one in made.values() for note in one.notes)]
    return Judged(shot, made, scores, notes, failures)


def _baselines(shot: Material, wanted: Wanted) -> dict[str, Maker]:
    if shot.plate is None or shot.truth is None:
        return {}
    return {name: partial(_baseline, shot, name, wanted.work) for name in wanted.baselines}


def _baseline(shot: Material, name: str, work: Path) -> Result:
    if name in BASELINES:
        return results.of_pictures(shot, name, BASELINES[name](shot))
    return suite.removed(shot, work / shot.name, Settings(engine=name, grain=False), name)


def _as_it_is(result: Result) -> Result:
    return result


def _matched(
    named: Path, truth: Path | None, wanted: Wanted, colour: ColourSpace, plate: str, quadmask: str
) -> Iterator[tuple[Material, Result]]:
    """Each shot with the result that belongs to it."""
    version = results.version_in(named)
    pairs = pairs_in(truth) if truth is not None and truth.is_dir() else []
    if (plate or quadmask) and (version or pairs):
        raise SettingError("--plate and --quadmask are for plain sequences; versions and pairs say this themselves.")
    if truth is None:
        if version is None and (folders := _versions_in(named)):
            for folder in folders:
                shot = results.material_of(folder, frames=wanted.frames)
                yield shot, results.of_version(shot, folder, RESULT)
            return
    elif pairs:
        alone = len(pairs) == 1 and pairs[0].folder == truth
        if lacking := [pair.name for pair in pairs if not alone and not (named / pair.name).is_dir()]:
            raise SequenceError(
                f"{named} has no result for {len(lacking)} of {len(pairs)} pairs ({', '.join(lacking[:5])}); results "
                "lie in folders named as the pairs are."
            )
        for pair in pairs:
            shot = material.of_pair(pair, wanted.frames)
            yield shot, _result(shot, named if alone else named / pair.name)
        return
    true = None if truth is None else sequence.find(str(truth), layout.TRUTH)
    if version is not None:
        shot = results.material_of(version, true, wanted.frames)
        yield shot, results.of_version(shot, version, RESULT)
        return
    found = sequence.find(str(named), RESULT)
    seen, codes = (
        sequence.find(one, what) if one else None for one, what in ((plate, "plate"), (quadmask, "quadmask"))
    )
    if true is None and (seen is None or codes is None):
        raise SequenceError(
            f"{named} is no version folder, so nothing says which of its pixels are new; give a truth, or --plate and "
            "--quadmask."
        )
    shot = material.of_sequences(named.name, seen, true, codes, colour, wanted.frames)
    yield shot, results.of_sequence(shot, found, RESULT)


def _result(shot: Material, folder: Path) -> Result:
    version = results.version_in(folder)
    if version is not None:
        return results.of_version(shot, version, RESULT)
    return results.of_sequence(shot, sequence.find(str(folder), RESULT), RESULT)


def _versions_in(folder: Path) -> list[Path]:
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [found for one in inside if one.is_dir() and (found := results.version_in(one))]


def _pairs(folder: Path) -> list[PairFolder]:
    if not folder.is_dir():
        raise SequenceError(f"The suite {folder} is no folder; name one that holds pairs, or a pair.")
    pairs = pairs_in(folder)
    if not pairs:
        raise SequenceError(f"{folder} holds no pairs: no folder in it has a meta.json.")
    return pairs


def totals(judged: Iterable[Judged]) -> dict[str, dict[str, dict[str, float]]]:
    """The mean over all shots by method, group and measure; each shot counts the same, whatever its size."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for one in judged:
        for each in one.scores:
            for group, figures in each.groups.items():
                for name, value in figures.items():
                    found.setdefault(each.method, {}).setdefault(group, {}).setdefault(name, []).append(value)
    return {
        method: {
            group: {name: fmean(values) for name, values in groups[group].items()}
            for group in GROUPS
            if group in groups
        }
        for method, groups in found.items()
    }


def as_data(judged: Iterable[Judged]) -> dict[str, Any]:
    """All figures as plain data."""
    every = list(judged)
    return {
        "shots": [
            {
                "name": one.name,
                "frames": sequence.format_frames(one.material.frames),
                "notes": list(one.notes),
                "failures": list(one.failures),
                "methods": [
                    {"method": each.method, "groups": each.groups, "frames": each.frames, "worst": each.worst[:5]}
                    for each in one.scores
                ],
            }
            for one in every
        ],
        "total": totals(every),
    }
