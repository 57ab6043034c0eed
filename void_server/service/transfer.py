"""Transfer files by message: uploads under the digest of their content, downloads from a job's version folder."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api.errors import AccessDenied, InputError, JobFailed, ProtocolError
from ..api.files import CHUNK, complete, digest_of_open, inside, is_plain_name, open_partial, open_unlinked, to_disk
from ..api.job import Job, JobState
from ..api.messages import Bytes
from ..api.shot import Shot

_log = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ROLES = (*Shot.SEQUENCES, *Shot.FILES)
#: Unfinished uploads whose hash is kept, and bytes of the disk that no upload takes.
_HASHERS, _SPARE = 256, 2**30
#: Whole files that are flushed at once, or wait for that.
_FLUSHES = 8
#: How a file system says that it knows no hard links, or not this one.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Digests:
    """SHA-256 of files whose pieces come by, so that the last piece of a large one takes no longer than another."""

    def __init__(self) -> None:
        # how far each file is hashed; several come by at once
        self._hashers: dict[Hashable, tuple[int, hashlib._Hash]] = {}
        self._lock = threading.Lock()

    def add(self, file: Hashable, offset: int, data: Bytes) -> str:
        """The digest of a ``file`` up to and with this piece; empty where the pieces before did not all come by."""
        with self._lock:
            reached, hasher = self._hashers.pop(file, (0, hashlib.sha256()))
        if reached != offset:
            if offset:
                return ""
            hasher = hashlib.sha256()
        hasher.update(data)
        with self._lock:
            self._hashers[file] = offset + len(data), hasher
            while len(self._hashers) > _HASHERS:
                # its file is read once more at its end
                del self._hashers[next(iter(self._hashers))]
        return hasher.hexdigest()

    def forget(self, file: Hashable) -> None:
        """Keep nothing of a file whose last piece came by."""
        with self._lock:
            self._hashers.pop(file, None)


@dataclass(frozen=True)
class Upload:
    """A file that somebody sends: the digest and the size that it is to have, and who that is.

    It is its sender's own: whoever knows its digest neither gets it nor holds its sender up.
    """

    digest: str
    size: int
    sender: str


class Uploads:
    """Uploaded files below ``folder``, each once for its sender, however many jobs use it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._digests = folder, Digests()
        # pieces are hashed while they are written
        self._hashing = ThreadPoolExecutor(os.cpu_count())
        # whole files are flushed while others come; the oldest is the first
        self._flushing = ThreadPoolExecutor(_FLUSHES)
        self._keeping: dict[Path, Future[bool]] = {}

    def _path(self, digest: Any, sender: str) -> Path:
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ProtocolError("The upload has no SHA-256 digest; use a VOID client.")
        own = hashlib.sha256(sender.encode(errors="backslashreplace")).hexdigest()[:16]
        return self._folder / digest[:2] / f"{digest}-{own}"

    def _part(self, upload: Upload) -> Path:
        return self._path(upload.digest, upload.sender).with_suffix(f".{upload.size}.part")

    def offset(self, upload: Upload) -> int:
        """The number of bytes of a file received so far; its size when it is complete."""
        path, part = self._path(upload.digest, upload.sender), self._part(upload)
        self._kept(path)
        if path.is_file():
            os.utime(path)
            return upload.size
        have = part.stat().st_size if part.is_file() else 0
        if upload.size and have >= upload.size:
            # a server was killed before it could say whether the file is whole
            return upload.size if complete(part, path, upload.digest) else 0
        return have

    def chunk(self, upload: Upload, offset: int, data: Bytes) -> int:
        """Add a chunk; returns the number of bytes received. A chunk out of order changes nothing.

        After the last one the file is flushed to the disk meanwhile; :meth:`place` waits for that. Raises
        :class:`ProtocolError` if the file is damaged.
        """
        have = self.offset(upload)
        if have != offset or have + len(data) > upload.size:
            return have
        path, part = self._path(upload.digest, upload.sender), self._part(upload)
        path.parent.mkdir(parents=True, exist_ok=True)
        if offset == 0 and shutil.disk_usage(path.parent).free < upload.size + _SPARE:
            raise JobFailed(
                f"The server has no room for a file of {upload.size / 1e9:.1f} GB; ask whoever runs it to free some "
                "disk."
            )
        hashing = self._hashing.submit(self._digests.add, upload, offset, data)
        try:
            with open_partial(part, create=offset == 0) as file:
                file.seek(offset)
                file.write(data)
        except FileNotFoundError:
            # another server that receives the same file was quicker
            return self.offset(upload)
        found = hashing.result()
        if have + len(data) == upload.size:
            self._digests.forget(upload)
            if found == upload.digest:
                for oldest in [*self._keeping][: 1 - _FLUSHES]:
                    self._kept(oldest)
                self._keeping[path] = self._flushing.submit(complete, part, path, found, found)
            # where another server received pieces of it, those are in the file alone
            elif not complete(part, path, upload.digest):
                raise ProtocolError("An uploaded file arrived damaged; submit again.")
        return have + len(data)

    def _kept(self, path: Path) -> None:
        """Wait until a file whose last piece has come is where it belongs. One whose disk fails is not there then."""
        if keeping := self._keeping.get(path):
            try:
                keeping.result()
            except OSError as error:
                _log.error("the upload %s cannot be kept: %s", path, error)
            self._keeping.pop(path, None)

    def holds(self, upload: Upload) -> bool:
        """Whether there is anything of a file."""
        return self._path(upload.digest, upload.sender).is_file() or self._part(upload).is_file()

    def place(self, files: Any, folder: Path, sender: str) -> dict[str, str]:
        """Lay out the files that ``sender`` uploaded for a job in a new ``folder``, by hard links.

        Returns the path of each part of the shot below it. ``files`` lists [name, digest] by what the shot calls them.
        Nobody else may write where ``folder`` is. Raises :class:`InputError`.
        """
        if not isinstance(files, Mapping) or not set(files) <= set(_ROLES) or "plate" not in files:
            raise InputError(f"An upload needs the files of the plate, and may include those of {_ROLES[1:]}.")
        places = {}
        for role, entries in files.items():
            if not isinstance(entries, list) or not entries or any(not _is_pair(entry) for entry in entries):
                raise ProtocolError(
                    f"The upload does not list the files of the {role} as names and digests; use a VOID client."
                )
            names: set[str] = set()
            for name, digest in entries:
                if not is_plain_name(name) or name.startswith("."):
                    raise AccessDenied(
                        f"{name!r} is not a plain file name; upload files by name alone, without / \\ or :."
                    )
                if name.casefold() in names:
                    # also on file systems that take upper and lower case for one
                    raise InputError(f"Two files of the {role} are called {name}; give each a name of its own.")
                names.add(name.casefold())
                source, target = self._path(digest, sender), folder / role / name
                self._kept(source)
                if not source.is_file():
                    raise InputError(f"{name} of the {role} was not uploaded completely; submit again.")
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(source, target)
            to_disk(folder / role)
            places[role] = f"{role}/{entries[0][0]}" if len(entries) == 1 else role
        to_disk(folder)
        return places

    def clear(self, older_than: float) -> None:
        """Remove uploads unused for this many seconds; jobs keep the files they use."""
        limit = time.time() - older_than
        for path in self._folder.glob("??/*"):
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
            except OSError as error:
                # another server may have been quicker; one that cannot be removed must not keep the others
                _log.warning("the upload %s cannot be removed: %s", path, error)


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2


def _link(source: Path, target: Path) -> None:
    """Have the new ``target`` be ``source``."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target)


def _results(job: Job) -> list[Path]:
    if job.state is not JobState.DONE:
        raise JobFailed(f"Job {job.id} is {job.state.value}; fetch its result when it is done.")
    folder = Path(job.folder)
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def listing(job: Job) -> list[dict[str, Any]]:
    """Path (within the version folder) and size of each result."""
    folder = Path(job.folder)
    return [{"path": path.relative_to(folder).as_posix(), "size": path.stat().st_size} for path in _results(job)]


class Downloads:
    """Results on their way to clients."""

    def __init__(self) -> None:
        self._digests = Digests()

    def chunk(self, connection: bytes, job: Job, path: str, offset: int) -> dict[str, Any]:
        """A chunk of a result for a client; the last one with the file's digest.

        Raises :class:`AccessDenied` for any other file.
        """
        target = inside(Path(job.folder), path)
        if job.state is not JobState.DONE or not target.is_file():
            raise AccessDenied(f"{path} is not a result of job {job.id}.")
        # also where a folder on the way becomes a link now
        with open_unlinked(target) as file:
            found = os.fstat(file.fileno())
            file.seek(offset)
            data = file.read(CHUNK)
            # one that was exchanged on the way is another file, so that the client hears of it
            on_its_way = connection, target, found.st_ino, found.st_size, found.st_mtime_ns
            digest = self._digests.add(on_its_way, offset, data)
            if offset + len(data) < found.st_size:
                return {"data": data, "digest": ""}
            self._digests.forget(on_its_way)
            return {"data": data, "digest": digest or digest_of_open(file)}
