"""Who has signed in, and who tries to too often."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from .visitor import Visitor

#: Seconds for which somebody stays signed in, and those without a request after which not any more.
LASTING, _UNUSED = 12 * 3600.0, 2 * 3600.0
#: The sessions of one user, and failures: of one host, and of all, within so many seconds.
_OF_ONE, FAILURES, _FAILURES_OF_ALL, _WITHIN = 20, 5, 200, 60.0


@dataclass
class _Session:
    user: str
    token: str
    begun: float
    used: float


class Sessions:
    """Those who have signed in, by what their cookies say. It is forgotten when the page ends."""

    def __init__(self) -> None:
        self._open: dict[str, _Session] = {}

    def begin(self, user: str) -> str:
        """A new session; returns what its cookie is to say. A user's oldest ends where there are many."""
        now = time.monotonic()
        self._end_old(now)
        own = [key for key, one in self._open.items() if one.user == user]
        for key in own[: max(0, len(own) - _OF_ONE + 1)]:
            del self._open[key]
        cookie = secrets.token_urlsafe(32)
        self._open[_hidden(cookie)] = _Session(user, secrets.token_urlsafe(32), now, now)
        return cookie

    def visitor(self, cookie: str, host: str) -> Visitor | None:
        """Whose session a cookie is of, None where it has ended, or never was."""
        now = time.monotonic()
        self._end_old(now)
        session = self._open.get(_hidden(cookie))
        if session is None:
            return None
        session.used = now
        return Visitor(session.user, host, session.token)

    def stands(self, visitor: Visitor) -> bool:
        """Whether the session that a visitor came with has not ended; this is no use of it."""
        self._end_old(time.monotonic())
        return any((one.user, one.token) == (visitor.user, visitor.token) for one in self._open.values())

    def end(self, cookie: str) -> None:
        """End a session."""
        self._open.pop(_hidden(cookie), None)

    def _end_old(self, now: float) -> None:
        self._open = {
            key: one for key, one in self._open.items() if now - one.begun < LASTING and now - one.used < _UNUSED
        }


class Attempts:
    """How often somebody failed to sign in, by host; and all together, as one may have many hosts."""

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = defaultdict(deque)

    def too_many(self, host: str) -> bool:
        """Whether there were so many that none is looked at now."""
        since = time.monotonic() - _WITHIN
        for times in self._failed.values():
            while times and times[0] < since:
                times.popleft()
        self._failed = defaultdict(deque, {host: times for host, times in self._failed.items() if times})
        of_all = sum(map(len, self._failed.values()))
        return len(self._failed.get(host, ())) >= FAILURES or of_all >= _FAILURES_OF_ALL

    def note(self, host: str) -> None:
        """One more has failed."""
        self._failed[host].append(time.monotonic())


def _hidden(cookie: str) -> str:
    # how long it takes to find one says nothing of those that there are
    return hashlib.sha256(cookie.encode()).hexdigest()
