"""Turns on a graphics card: parts of the model that work there one after the other, and wait in the machine's memory.

What waits is the weights as they were loaded: nothing is copied back, as nothing changes them. They are copied to the
card from pinned memory where there is enough of it. A part that was used stays until another one needs its room.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator

import psutil
import torch

# Pinned memory is taken from the machine for good; it may be so much of what is free.
_PINNED_SHARE = 0.5


class Guest:
    """Weights that are on the card, or wait."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        self._waiting = [(tensor, tensor.data) for tensor in weights]
        self._pinned = False

    @property
    def size(self) -> int:
        """Its weights in bytes."""
        return sum(held.numel() * held.element_size() for _, held in self._waiting)

    def enter(self, device: torch.device) -> None:
        """Copy the weights to the card, on the current stream."""
        if device.type == "cuda" and not self._pinned:
            self._pin()
        # weights outlive the block in which they are used
        with torch.inference_mode(False):
            for tensor, held in self._waiting:
                tensor.data = held.to(device, non_blocking=True)

    def leave(self) -> None:
        """Give the card's memory back."""
        for tensor, held in self._waiting:
            tensor.data = held

    def keep_for(self, stream: torch.cuda.Stream) -> None:
        """The memory on the card is not given to others before ``stream`` has done what it was told so far."""
        for tensor, _ in self._waiting:
            tensor.data.record_stream(stream)

    def _pin(self) -> None:
        if self.size < _PINNED_SHARE * psutil.virtual_memory().available:
            self._waiting = [(tensor, held.pin_memory()) for tensor, held in self._waiting]
        self._pinned = True


class Turns:
    """The guests of one card. ``free`` says how many bytes it has left."""

    def __init__(self, device: torch.device, free: Callable[[], int]) -> None:
        self._device, self._free = device, free
        # the one that worked last is the last
        self._here: list[Guest] = []

    @contextlib.contextmanager
    def working(self, guest: Guest, beside: int) -> Iterator[None]:
        """Let ``guest`` work on the card with ``beside`` bytes for what it makes; others leave where they must."""
        here = guest in self._here
        if here:
            self._here.remove(guest)
        wanted = beside + (0 if here else guest.size)
        while self._here and self._free() < wanted:
            self._send_away(self._here.pop(0))
        # noted first: where entering fails for want of memory, it is sent away like any other
        self._here.append(guest)
        if not here:
            guest.enter(self._device)
        yield

    def dismiss(self, guest: Guest) -> None:
        """Send a guest away, if it is here."""
        if guest in self._here:
            self._here.remove(guest)
            self._send_away(guest)

    def room_with(self, guest: Guest) -> int:
        """The bytes that are left beside ``guest`` once all others are gone."""
        here = sum(other.size for other in self._here)
        return self._free() + here - guest.size

    def send_all_away(self) -> None:
        """Give all of the card's memory back."""
        while self._here:
            self._send_away(self._here.pop())

    def _send_away(self, guest: Guest) -> None:
        guest.leave()
        collect(self._device)


def weights_of(module: torch.nn.Module) -> list[torch.Tensor]:
    """All that a module keeps, parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


def collect(device: torch.device) -> None:
    """Release unused memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Relay:
    """The blocks of a model that does not fit: each is on the card while it works, and the next is on its way."""

    def __init__(self, blocks: Iterable[torch.nn.Module], device: torch.device) -> None:
        self._device = device
        blocks = list(blocks)
        self._guests = [Guest(weights_of(block)) for block in blocks]
        self._here: dict[int, object] = {}
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._hooks = [
            hook
            for index, block in enumerate(blocks)
            for hook in (
                block.register_forward_pre_hook(lambda *_, index=index: self._begin(index)),
                block.register_forward_hook(lambda *_, index=index: self._end(index)),
            )
        ]

    @property
    def size(self) -> int:
        """The most that is on the card at once, in bytes: the block that works, and the next."""
        return 2 * max(guest.size for guest in self._guests)

    def _begin(self, index: int) -> None:
        if index not in self._here:
            self._fetch(index)
        arrived = self._here[index]
        if isinstance(arrived, torch.cuda.Event):
            torch.cuda.current_stream(self._device).wait_event(arrived)
        for other in [other for other in self._here if other != index]:
            # fetched for a step that was cut short
            self._drop(other)
        if index + 1 < len(self._guests):
            self._fetch(index + 1)

    def _end(self, index: int) -> None:
        self._drop(index)

    def _fetch(self, index: int) -> None:
        if self._copying is None:
            self._guests[index].enter(self._device)
            self._here[index] = None
            return
        with torch.cuda.stream(self._copying):
            self._guests[index].enter(self._device)
            arrived = torch.cuda.Event()
            arrived.record(self._copying)
        self._here[index] = arrived

    def _drop(self, index: int) -> None:
        guest = self._guests[index]
        if self._copying is not None:
            guest.keep_for(torch.cuda.current_stream(self._device))
        guest.leave()
        del self._here[index]

    def send_all_away(self) -> None:
        """All blocks wait, also those of a step that failed."""
        for index in list(self._here):
            self._drop(index)

    def end(self) -> None:
        """All blocks wait, and stay where they are put from now on."""
        self.send_all_away()
        for hook in self._hooks:
            hook.remove()
