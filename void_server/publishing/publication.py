"""Publishing a version: checked, approved, and put into words and pictures for whoever takes it from here."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..api.errors import InputError
from ..api.files import digest_of, read_json, write_atomically
from ..api.home import home
from ..api.shot import PLATE, QUADMASK, Shot
from ..api.version import MATTES, PATCH, VersionFolder, pattern
from ..pipeline.previews import CODECS, Look, check_movies, look_of, write_movie_of, write_thumbnail
from ..signing import SigningKey, account
from . import approval, credentials

SCHEMA = 1


@dataclass(frozen=True)
class Publication:
    """A published version: its folder, and what publish.json says of it."""

    version: VersionFolder
    said: dict[str, Any]

    def file(self, name: str) -> Path:
        """One of the files: contact_sheet or movie. Raises :class:`InputError` where it has none."""
        if not self.said.get(name):
            raise InputError(f"{self.version.publication} has no {name}; publish it with --movie.")
        return self.version.folder / str(self.said[name])

    @property
    def thumbnail(self) -> Path:
        """The picture of the middle frame."""
        thumbnails = self.said["thumbnails"]
        return self.version.folder / str(thumbnails[len(thumbnails) // 2])

    @property
    def plates(self) -> str:
        """The frames of the result, with %04d, and a range beside it in ``said``."""
        return str(self.version.folder / self.said["sequences"][PLATE])

    @property
    def fps(self) -> Fraction:
        """Frames a second of the movie, and of whatever plays the frames."""
        return Fraction(self.said["fps"])

    @property
    def note(self) -> str:
        """What is said of it on a task: the range, how it was made, and who approved it."""
        first, last = self.said["range"]
        made = "with generated pixels" if self.said["generative"] else "without generated pixels"
        approved = f" Approved by {', '.join(self.said['approved_by'])}." if self.said["approved_by"] else ""
        return f"{self.said['name']}, frames {first}-{last}, {made} ({self.said['engine']}).{approved}"


def publish(version: VersionFolder, *, movie: str = "", fps: Fraction = Fraction(24)) -> Publication:
    """Publish a version: pictures, a movie where one of :data:`.pipeline.previews.CODECS` is named, publish.json last.

    Raises :class:`~void_server.api.errors.InputError` where the version is not as it was made, or has no plate,
    NotPermitted where the studio's policy wants an approval that it lacks, SettingError without what movies need.
    """
    if movie:
        check_movies()
    approval.check_unchanged(version)
    approved = approval.check_approved(version)
    manifest, disclosed = read_json(version.manifest), read_json(version.disclosure)
    shot, frames = Shot.from_dict(manifest["shot"]), list(manifest["frames"])
    if shot.settings.until != PLATE:
        raise InputError(f"{version.folder} ends with the {shot.settings.until}; publish one with a new plate.")
    files = _pictures(version, frames, look_of(version, shot, manifest))
    if movie:
        codec = CODECS[movie]
        file = version.published / f"before_after{codec.suffix}"
        write_movie_of(version, file, shot, manifest, disclosed, codec, fps)
        files["movie"] = file
    if credentials.available():
        key = SigningKey(home())
        for made in [*files["thumbnails"], *(file for name, file in files.items() if name != "thumbnails")]:
            credentials.add(made, disclosed["source_type"], account(), key)

    def inside(path: Path) -> str:
        return path.relative_to(version.folder).as_posix()

    said = {
        "schema": SCHEMA,
        "name": version.title,
        "folder": str(version.folder.absolute()),
        "job": manifest["id"],
        "range": [frames[0], frames[-1]],
        "sequences": {name: pattern(name) for name in (PLATE, PATCH, MATTES, QUADMASK)},
        "colorspace": manifest["colour"]["space"],
        "contact_sheet": inside(files["contact_sheet"]),
        "thumbnails": [inside(file) for file in files["thumbnails"]],
        "movie": inside(files["movie"]) if movie else "",
        "fps": str(fps),
        "engine": shot.settings.engine,
        "generative": disclosed["generative"],
        "source_type": disclosed["source_type"],
        "credentials": credentials.available(),
        "approved_by": [one.by for one in approved],
        "lineage": {**shot.paths(), "request": manifest["request"], "manifest": digest_of(version.manifest)},
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "by": account(),
    }
    write_atomically(version.publication, json.dumps(said, indent=2))
    return Publication(version, said)


def read(version: VersionFolder) -> Publication:
    """What was published of a version. Raises :class:`InputError`."""
    try:
        return Publication(version, dict(read_json(version.publication)))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{version.folder} is not published ({error}); use: void publish {version.folder}") from error


def _pictures(version: VersionFolder, frames: list[int], look: Look) -> dict[str, Any]:
    version.published.mkdir(exist_ok=True)
    sheet = version.published / version.contact_sheet.name
    shutil.copyfile(version.contact_sheet, sheet)
    thumbnails = []
    for index in sorted({0, len(frames) // 2, len(frames) - 1}):
        thumbnails.append(version.published / f"thumbnail.{frames[index]:04d}.jpg")
        write_thumbnail(thumbnails[-1], version.plate(frames[index]), look)
    return {"contact_sheet": sheet, "thumbnails": thumbnails}
