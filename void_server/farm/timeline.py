"""The shots of a timeline, for a batch: a cut in OpenTimelineIO's reach becomes a row for each of its clips.

A clip's plate is what it refers to; its range is what the cut uses of it, with handles as far as the plate reaches.
What else a shot needs is named by templates: its roto, its folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import unquote, urlsplit

from ..api.errors import SettingError
from ..api.files import is_plain_name
from ..imaging.sequence import BRACKETS, MOVIE_SUFFIXES
from ..plugins import how_to_install, installed

#: What a template may name of a clip.
NAMES = ("clip", "track", "timeline", "number", "plate", "plate_dir", "plate_stem")
_PATHS = {"plate", "plate_dir"}


def rows(file: Path, templates: Mapping[str, str], handles: int) -> list[dict[str, str]]:
    """The rows of a table of shots, as :func:`.submit.batch` reads one, for the clips of all video tracks.

    ``templates`` are the row's further fields, roto, out and the like, with names of :data:`NAMES` in braces. Each shot
    has ``handles`` frames more on either side. A clip that is used twice is one row for each of its ranges.
    Raises :class:`SettingError` naming file, clip, and what is wrong.
    """
    if not installed("opentimelineio"):
        raise SettingError(f"Timelines need OpenTimelineIO, which is not installed: {how_to_install('timeline')}")
    import opentimelineio as otio

    try:
        read = otio.adapters.read_from_file(str(file))
    except (otio.exceptions.OTIOError, OSError, ValueError) as error:
        raise SettingError(f"The timeline {file} cannot be read: {error}") from error
    found = []
    for number, (timeline, track, clip) in enumerate(_clips(read, file), 1):
        plate, frames = _media(clip, handles, file)
        plate_path = Path(plate)
        named = {
            "clip": clip.name,
            "track": track,
            "timeline": timeline,
            "number": f"{number:03d}",
            "plate": plate,
            "plate_dir": plate_path.parent.as_posix(),
            "plate_stem": plate_path.name.partition(".")[0],
        }
        filled = {field: _filled(template, field, named, file) for field, template in templates.items()}
        found.append({"plate": plate, "frames": frames, "shot": clip.name, **filled})
    if not found:
        raise SettingError(f"The timeline {file} has no clip with media on a video track that is switched on.")
    return found


def _clips(read: Any, file: Path) -> Iterator[tuple[str, str, Any]]:
    """The clips of video tracks with the names of timeline and track; what is switched off or has no media is none."""
    import opentimelineio as otio

    timelines = list(read) if isinstance(read, otio.schema.SerializableCollection) else [read]
    for timeline in timelines:
        if not isinstance(timeline, otio.schema.Timeline):
            raise SettingError(f"{file} holds a {type(timeline).__name__}, not a timeline; export the cut.")
        for track in timeline.video_tracks():
            for clip in track.find_clips() if track.enabled else []:
                if clip.enabled and not clip.media_reference.is_missing_reference and _has_url(clip.media_reference):
                    yield timeline.name, track.name, clip


def _has_url(media: Any) -> bool:
    # a generator, such as bars, is made, not read
    return hasattr(media, "target_url") or hasattr(media, "target_url_base")


def _media(clip: Any, handles: int, file: Path) -> tuple[str, str]:
    """The plate of a clip, and the frames of it that are used, with handles as far as it reaches."""
    import opentimelineio as otio

    media, used = clip.media_reference, _used(clip, file)
    available = media.available_range
    if isinstance(media, otio.schema.ImageSequenceReference):
        if media.frame_step != 1:
            raise SettingError(f"{file}: the clip {clip.name} uses every {media.frame_step}th frame; use all of them.")
        digits = f"%0{media.frame_zero_padding}d"
        plate = _path(media.target_url_base, file).rstrip("/") + f"/{media.name_prefix}{digits}{media.name_suffix}"
        start = media.start_frame if available is None else media.frame_for_time(available.start_time)
    else:
        plate = _path(media.target_url, file)
        # a movie's frames count from 1; a sequence's are numbered by its name, or its time code, or so it is cut
        movie = Path(plate).suffix.lower() in MOVIE_SUFFIXES
        if not movie and (named := BRACKETS.search(Path(plate).name)):
            start = int(named["first"])
        else:
            start = 1 if movie or available is None else available.start_time.to_frames()
    if available is None:
        offset, last = used.start_time.to_frames(), None
    else:
        # a cut may count at another rate than the plate
        offset = (used.start_time - available.start_time).rescaled_to(available.start_time.rate).to_frames()
        last = start + available.duration.to_frames() - 1
    length = used.duration.rescaled_to(available.duration.rate if available else used.duration.rate).to_frames()
    first = start + offset
    begin, end = first - handles, first + length - 1 + handles
    if last is not None:
        begin, end = max(begin, start), min(end, last)
    if length < 1 or end < begin:
        raise SettingError(f"{file}: the clip {clip.name} uses no frame of its media; mend the cut.")
    return plate, f"{begin}-{end}"


def _used(clip: Any, file: Path) -> Any:
    """The range of its media that a clip shows, with what transitions to its neighbours show of it."""
    import opentimelineio as otio

    visible = clip.visible_range()
    speed = 1.0
    for effect in clip.effects:
        if not effect.enabled:
            continue
        # a freeze is one of speed 0
        if isinstance(effect, otio.schema.LinearTimeWarp) and effect.time_scalar >= 0:
            speed *= effect.time_scalar
        elif isinstance(effect, otio.schema.TimeEffect):
            raise SettingError(
                f"{file}: the clip {clip.name} is retimed in a way that cannot be read ({type(effect).__name__}); "
                "switch it off in the cut, and submit it by its frames."
            )
    # what transitions add before the cut begins is faster, too
    rate, begin = visible.start_time.rate, clip.trimmed_range().start_time
    before = (begin - visible.start_time).rescaled_to(rate).to_frames()
    after = visible.duration.rescaled_to(rate).to_frames() - before
    first = begin.to_frames() - _frames(before * speed)
    last = begin.to_frames() + max(_frames(after * speed), 1) - 1
    return otio.opentime.TimeRange.range_from_start_end_time_inclusive(
        otio.opentime.RationalTime(first, rate), otio.opentime.RationalTime(last, rate)
    )


def _frames(count: float) -> int:
    """How many frames hold so many: a part of one is one, but for the error of a product such as 100 * 1.1."""
    return math.ceil(round(count, 6))


def _path(url: str, file: Path) -> str:
    """A path from a URL or a path; a relative one begins at the timeline."""
    parts = urlsplit(url)
    if len(parts.scheme) > 1 and parts.scheme != "file":
        raise SettingError(f"{file} refers to {url}, which is no file; relink the cut to files.")
    path = unquote(parts.path) if parts.scheme == "file" else url
    # file:///C:/plate.exr
    path = path[1:] if re.match(r"/[A-Za-z]:", path) else path
    return path if Path(path).is_absolute() or re.match(r"[A-Za-z]:", path) else str(file.absolute().parent / path)


def _filled(template: str, field: str, named: Mapping[str, str], file: Path) -> str:
    try:
        used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        if unknown := sorted(used - set(NAMES)):
            raise KeyError(unknown[0])
        filled = template.format_map(named)
    except (KeyError, ValueError) as error:
        raise SettingError(
            f"The template {template!r} for {field} cannot be filled in ({error!r}); name {', '.join(NAMES)} in braces."
        ) from None
    for name in sorted(used - _PATHS):
        if not is_plain_name(named[name]):
            raise SettingError(f"{file}: the {name} {named[name]!r} is no name for a file or folder; rename it.")
    return filled
