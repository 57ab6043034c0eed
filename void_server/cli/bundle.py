"""A bundle for machines that never see the internet: wheels, plugin, guides, sums that are signed, and an installer."""

from __future__ import annotations

import base64
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from void_nuke.studio.packages import this_system

from .. import __version__
from ..api.errors import JobFailed, SettingError
from ..api.files import replacing
from ..api.home import home
from ..signing import SigningKey
from . import bundle_installer as installer
from . import install_nuke, wheels


@dataclass(frozen=True)
class Bundle:
    """What a bundle is to hold.

    ``pythons`` are those that VOID runs on, ``nukes`` the versions of Nuke that get the plugin, ``extras`` those of
    void-nuke. ``gpu`` is the build of torch, such as cu128 or cpu; empty for none, and without the engine void.
    """

    pythons: Sequence[str]
    nukes: Sequence[str] = ()
    gpu: str = ""
    extras: Sequence[str] = ()
    system: str = this_system()

    def check(self) -> None:
        """Raise :class:`SettingError` for what cannot be bundled."""
        wheels.check_system(self.system)
        for python in self.pythons:
            if python not in wheels.PYTHONS:
                raise SettingError(f"VOID does not run on Python {python}; choose from {', '.join(wheels.PYTHONS)}.")
        for nuke in self.nukes:
            if nuke not in install_nuke.NUKES:
                raise SettingError(f"There is no plugin for Nuke {nuke}; choose from {', '.join(install_nuke.NUKES)}.")
        if not re.fullmatch(r"|cpu|cu\d{3}|rocm\d+\.\d+", self.gpu):
            raise SettingError(f"{self.gpu!r} is no build of torch; give cpu, or one such as cu128.")

    @property
    def wanted(self) -> list[str]:
        """The extras of void-nuke, with that of the engine where there is a torch for it."""
        return sorted({*self.extras, *(["void"] if self.gpu else [])})

    @property
    def nuke_pythons(self) -> list[str]:
        """The Pythons of those versions of Nuke."""
        return sorted({install_nuke.NUKES[nuke] for nuke in self.nukes}, key=lambda python: int(python[2:]))

    @property
    def name(self) -> str:
        """Its folder in the archive, which says what it is."""
        return "-".join(["void-nuke", __version__, self.system, *([self.gpu] if self.gpu else [])])

    def about(self) -> dict[str, object]:
        """What the installer is told."""
        extras = f"[{','.join(self.wanted)}]" if self.wanted else ""
        return {
            "version": __version__,
            "system": self.system,
            "gpu": self.gpu,
            "pythons": list(self.pythons),
            "requirement": f"void-nuke{extras}=={__version__}",
            "nukes": list(self.nukes),
            "nuke_pythons": self.nuke_pythons,
        }


def write(bundle: Bundle, out: Path, wheel: Path | None = None) -> str:
    """Write the bundle as the archive ``out``, signed with the key of whoever runs this; returns the public key.

    The same packages and key make the same bytes. ``wheel`` is that of void-nuke, where this is no checkout. Raises
    :class:`SettingError` for what cannot be bundled or an archive that is there already, :class:`JobFailed` for
    packages that cannot be had, or a disk that cannot be written.
    """
    bundle.check()
    if out.exists():
        raise SettingError(f"{out} is there already; name a new archive.")
    key = SigningKey(home())
    try:
        with tempfile.TemporaryDirectory(prefix="void-bundle.") as making:
            folder = Path(making)
            _fill(folder, bundle, wheel)
            _sign(folder, key)
            with (
                replacing(out, parents=True) as temporary,
                tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar,
            ):
                for file in _files(folder):
                    _add(tar, file, f"{bundle.name}/{file.relative_to(folder).as_posix()}")
    except OSError as error:
        raise JobFailed(f"{error.filename or out} cannot be written ({error.strerror}); free the disk.") from error
    return key.public


def _fill(folder: Path, bundle: Bundle, wheel: Path | None) -> None:
    ours = folder / installer.WHEELS
    ours.mkdir()
    constraints = Path(shutil.copy(install_nuke.shared() / installer.CONSTRAINTS, folder))
    own = wheels.own(ours, wheel)
    extras = f"[{','.join(bundle.wanted)}]" if bundle.wanted else ""
    requirements = [f"void-nuke{extras} @ {own.as_uri()}", *([_torch(constraints, bundle.gpu)] if bundle.gpu else [])]
    hint = (
        f" The index of PyTorch with {bundle.gpu} must be in $UV_INDEX and $PIP_EXTRA_INDEX_URL." if bundle.gpu else ""
    )
    for python in bundle.pythons:
        pins = wheels.resolve(requirements, constraints, python, bundle.system, hint=hint)
        others = [pin for pin in pins if not pin.startswith("void-nuke")]
        wheels.fetch(others, python, wheels.SYSTEMS[bundle.system].tags, ours, None)
    for python in bundle.nuke_pythons:
        tags = install_nuke.tags_of(python, bundle.system) or wheels.SYSTEMS[bundle.system].tags
        wheels.fetch(install_nuke.PACKAGES, python, tags, folder / installer.NUKE, None)
    shutil.copytree(install_nuke.shared() / "docs", folder / "docs", ignore=shutil.ignore_patterns(".*"))
    install_nuke.write_pages(folder / "docs")
    shutil.copy(installer.__file__, folder / "install.py")
    (folder / installer.ABOUT).write_text(json.dumps(bundle.about(), indent=2) + "\n", encoding="utf-8")


def _torch(constraints: Path, gpu: str) -> str:
    """The torch of the pins, in the build for these GPUs; indices of PyTorch name builds so."""
    found = re.search(r"^torch==([\w.]+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise SettingError(f"{constraints} does not pin torch, so that no build of it can be chosen.")
    return f"torch=={found[1]}+{gpu}"


def _files(folder: Path) -> list[Path]:
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.as_posix())


def _sign(folder: Path, key: SigningKey) -> None:
    lines = [f"{installer.digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in _files(folder)]
    sums = "".join(lines).encode()
    (folder / installer.SUMS).write_bytes(sums)
    signature = base64.b64encode(key.private.sign(installer.signed(sums))).decode()
    said = {"key": key.public, "signature": signature}
    (folder / installer.SIGNATURE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    """Add a file without its owner, time and mode, which differ from machine to machine."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = file.stat().st_size, 0o644
    with open(file, "rb") as opened:
        tar.addfile(entry, opened)
