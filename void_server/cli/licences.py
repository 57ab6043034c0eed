"""Licences of what is installed here because VOID depends on it, and of the weights that it may use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..engines.void.weights import SOURCES
from ..plugins import Download
from ..quadmask.segmentation import checkpoints, names

PACKAGE = "void-nuke"
#: What the terms of a licence come to, the mildest first.
PERMISSIVE, UNKNOWN, WEAK, STRONG, PROPRIETARY = "", "not said", "weak copyleft", "copyleft", "proprietary"
_ORDER = (PERMISSIVE, UNKNOWN, WEAK, STRONG, PROPRIETARY)
#: The weights that parts of VOID load, where somebody has put them here.
WEIGHTS: tuple[Download, ...] = (*SOURCES.values(), checkpoints.SOURCE, names.SOURCE)
# Libraries that wheels bring along under terms of their own, which no metadata of theirs tells.
_LIBRARIES = (
    (r"libx26[45]\b|libpostproc", "GPL-2.0-or-later"),
    (r"lib(avcodec|avdevice|avfilter|avformat|avutil|swresample|swscale)\b", "LGPL-2.1-or-later"),
    (r"lib(gmp|gnutls|hogweed|nettle|unistring|asound|mp3lame)\b", "LGPL-2.1-or-later"),
    (r"(lib)?Qt6\w+|libshiboken", "LGPL-3.0-only"),
    (r"libzmq\b", "MPL-2.0"),
)
_KINDS = (
    (PROPRIETARY, r"proprietary|NVIDIA"),
    (WEAK, r"LGPL|Lesser General|Library or Lesser|MPL|Mozilla|EPL|EUPL"),
    (STRONG, r"\bA?GPL|General Public License"),
    (UNKNOWN, r"^not said$"),
)


@dataclass(frozen=True)
class Bundled:
    """A library that a distribution brings along as a file."""

    file: str
    licence: str
    terms: str


@dataclass
class Package:
    """An installed distribution: ``extras`` of ours that need it, none where VOID itself does.

    ``licence`` is the distribution's own word, ``terms`` what that comes to; ``bundled`` are the libraries in it with
    stricter ones.
    """

    name: str
    version: str
    licence: str
    terms: str
    extras: list[str]
    requires: list[str] = field(default_factory=list)
    bundled: list[Bundled] = field(default_factory=list)


def packages() -> list[Package]:
    """Every distribution installed here that VOID or an extra of it depends on, itself the first."""
    root = _installed(PACKAGE)
    assert root is not None
    needed: dict[str, set[str]] = {}
    for extra in ("", *(root.metadata.get_all("Provides-Extra") or [])):
        for name in _needed(extra):
            needed.setdefault(name, set()).add(extra)
    found = [_package(root, [])]
    for name, extras in sorted(needed.items()):
        one = _installed(name)
        if one is not None and name != PACKAGE:
            found.append(_package(one, [] if "" in extras else sorted(extras)))
    return found


def terms_of(licence: str) -> str:
    """What a licence's terms come to; of alternatives, whoever uses it may choose the mildest."""
    alternatives = re.split(r"\bOR\b", licence)
    parts = [[_kind(part) for part in re.split(r"\bAND\b|;", one)] for one in alternatives]
    return min((max(one, key=_ORDER.index) for one in parts), key=_ORDER.index)


def _kind(licence: str) -> str:
    return next((kind for kind, words in _KINDS if re.search(words, licence.strip(), re.IGNORECASE)), PERMISSIVE)


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _requirements(one: Distribution, extra: str) -> Iterator[Requirement]:
    """What it needs in this environment: always, or with that extra of its."""
    for text in one.requires or []:
        wanted = Requirement(text)
        if wanted.marker is None:
            if not extra:
                yield wanted
        elif wanted.marker.evaluate({"extra": extra}) and (not extra or not wanted.marker.evaluate({"extra": ""})):
            yield wanted


def _needed(extra: str) -> set[str]:
    """The names of all that this extra needs, by way of others too."""
    done: set[tuple[str, str]] = set()
    open_ends = [(PACKAGE, extra)]
    while open_ends:
        name, wanted = open_ends.pop()
        one = _installed(name)
        if one is None or (name, wanted) in done:
            continue
        done.add((name, wanted))
        for needed in _requirements(one, wanted):
            open_ends += [(canonicalize_name(needed.name), more) for more in ("", *needed.extras)]
    return {name for name, _ in done} - {PACKAGE}


def _package(one: Distribution, extras: list[str]) -> Package:
    licence = _licence(one)
    needs: set[str] = {canonicalize_name(wanted.name) for wanted in _requirements(one, "")}
    terms = terms_of(licence)
    stricter = [library for library in _bundled(one) if _ORDER.index(library.terms) > _ORDER.index(terms)]
    return Package(one.metadata["Name"], one.version, licence, terms, extras, sorted(needs), stricter)


def _licence(one: Distribution) -> str:
    """In its own words: the expression, else a licence's name, else the classifiers."""
    said = one.metadata
    if "License-Expression" in said:
        return said["License-Expression"]
    named = said["License"].strip() if "License" in said else ""
    # some give the whole text there, or the name of its kind alone
    if named and "\n" not in named and len(named) < 80 and named.upper() not in ("GPL", "LGPL", "BSD", "OTHER"):
        return named
    classified = [text.rpartition(" :: ")[2] for text in said.get_all("Classifier") or [] if text[:10] == "License ::"]
    return "; ".join(text for text in classified if text != "OSI Approved") or named.partition("\n")[0] or UNKNOWN


def _bundled(one: Distribution) -> list[Bundled]:
    found: dict[str, str] = {}
    for file in one.files or []:
        if ".so" in file.name or file.suffix in (".dll", ".dylib"):
            for pattern, licence in _LIBRARIES:
                if re.match(pattern, file.name):
                    found[re.split(r"[-.]", file.name)[0]] = licence
    return [
        Bundled(name, licence, terms_of(licence)) for name, licence in sorted(found.items(), key=lambda one: one[::-1])
    ]
