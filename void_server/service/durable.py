"""Writes that outlive a loss of power, without a wait of the loop for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Durable:
    """Flushes to the disk, for all who wait at once: that takes as long for one write as for a hundred.

    ``flush()`` runs in a thread, one at a time.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush, self._line = flush, asyncio.Lock()
        self._asked = self._done = 0

    async def flushed(self) -> None:
        """Return once what was written before this call outlives a loss of power. Raises what ``flush`` does."""
        self._asked += 1
        own = self._asked
        async with self._line:
            if self._done < own:
                together = self._asked
                await asyncio.to_thread(self._flush)
                self._done = together
