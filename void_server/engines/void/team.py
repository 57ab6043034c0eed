"""Several cards at work on one job: a process for each beside this one, and all do the same steps.

Each has the whole model, and the same latents after every step. What a step asks of the transformer is one call for
each window and each half of guidance. Where that gives every card as many, they are shared out whole. Elsewhere all
cards work on each call, its video tokens split among them: only attention needs all tokens, and there each card attends
for its share of the heads (Ulysses, arXiv 2309.14509). The few tokens of text are everywhere.

The processes talk through NCCL, those of tests through gloo, and meet in a file: nothing listens to the network.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch
import torch.distributed as dist
from diffusers import CogVideoXTransformer3DModel

from ...api.errors import JobFailed
from ...interpreter import running
from .attention import Processor
from .message import Message

#: How long a process waits for others that live, in the middle of a step.
_PATIENCE = timedelta(minutes=10)
#: How long a helper that talks no more may take to end, in seconds.
_MOMENT = 5.0
#: How often whoever meets the helpers looks whether they live, in seconds.
_LOOK = 0.1
#: What a helper says once it has started, and whenever it has loaded what an order needs.
READY = b"ready\n"


@dataclass(frozen=True)
class Group:
    """A process among those of a team; ``rank`` 0 leads."""

    rank: int
    size: int

    @classmethod
    def join(cls, rank: int, size: int, device: torch.device, meeting: Path) -> Group:
        """Meet the others, who give the same file; waits for them."""
        if sys.platform == "linux":
            for library in ("GLOO", "NCCL"):
                os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
        # after an error, or its patience, NCCL's watchdog ends what it is doing (2), not this process (3, the default);
        # torch advises neither (0) to whoever gives up groups himself, but nobody would give up a helper that hangs
        os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "2"
        card = _take(device)
        dist.init_process_group(
            "nccl" if card else "gloo",
            store=dist.FileStore(str(meeting), size),
            rank=rank,
            world_size=size,
            timeout=_PATIENCE,
            device_id=card,
        )
        return cls(rank, size)

    def agree(self) -> None:
        """Wait for the others; raises RuntimeError or ValueError where they are gone, or have been.

        A card's calls return before they are done, and those that were given up leave what lay in memory. So nothing is
        believed before the processes have talked once more after all was done.
        """
        dist.barrier()

    def can_split(self, heads: int) -> bool:
        """Whether each card can have as many of a transformer's heads."""
        return heads % self.size == 0

    def shared_out(
        self, calls: Sequence[Callable[[], torch.Tensor]], like: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """What ``calls`` make, each done by one process and known to all; of the shape and type of its ``like``."""
        found = [
            call().contiguous() if index % self.size == self.rank else torch.empty_like(one).contiguous()
            for index, (call, one) in enumerate(zip(calls, like, strict=True))
        ]
        for index, tensor in enumerate(found):
            dist.broadcast(tensor, index % self.size)
        return found

    @contextlib.contextmanager
    def splitting(self, transformer: CogVideoXTransformer3DModel) -> Iterator[None]:
        """In the block, each of the transformer's calls is done by all processes together."""
        blocks = transformer.transformer_blocks
        split = Split(self)
        processor: Processor = blocks[0].attn1.processor
        hooks = (
            blocks[0].register_forward_pre_hook(split.begin, with_kwargs=True),
            blocks[-1].register_forward_hook(split.end),
        )
        processor.split = split
        try:
            yield
        finally:
            processor.split = None
            for hook in hooks:
                hook.remove()


class Split:
    """The video tokens of the transformer's calls, split among the processes of a group."""

    def __init__(self, group: Group) -> None:
        self._rank, self._size = group.rank, group.size
        # of each process, in the call under way
        self._counts: list[int] = []

    def begin(self, _: torch.nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before the first block: leave this process its tokens."""
        parts = given["hidden_states"].tensor_split(self._size, dim=1)
        self._counts = [part.shape[1] for part in parts]
        return args, {**given, "hidden_states": parts[self._rank]}

    def end(self, _: torch.nn.Module, __: tuple[Any, ...], made: tuple[torch.Tensor, torch.Tensor]) -> tuple[Any, Any]:
        """After the last block: give all tokens to all."""
        video, text = made
        parts = []
        for rank, count in enumerate(self._counts):
            own = rank == self._rank
            parts.append(video.contiguous() if own else video.new_empty((video.shape[0], count, video.shape[2])))
            dist.broadcast(parts[-1], rank)
        return torch.cat(parts, dim=1), text

    def own_tokens(self, along_tokens: torch.Tensor) -> torch.Tensor:
        """The part of this process of what lies along all video tokens, (tokens, ...)."""
        return along_tokens.tensor_split(self._size)[self._rank]

    def own_heads(self, text: torch.Tensor) -> torch.Tensor:
        """The heads of this process of what all have, (batch, tokens, heads, width)."""
        return text.chunk(self._size, dim=2)[self._rank]

    def all_heads(self, text: torch.Tensor) -> torch.Tensor:
        """The other way: all heads, of which each process has its share."""
        parts = [torch.empty_like(text, memory_format=torch.contiguous_format) for _ in range(self._size)]
        dist.all_gather(parts, text.contiguous())
        return torch.cat(parts, dim=2)

    def to_heads(self, video: torch.Tensor) -> torch.Tensor:
        """From all heads of own tokens to all tokens of own heads, (batch, tokens, heads, width)."""
        batch, own, _, width = video.shape
        # what goes to a process lies together
        sent = video.unflatten(2, (self._size, -1)).permute(2, 1, 0, 3, 4).flatten(0, 1).contiguous()
        found = sent.new_empty((sum(self._counts), batch, sent.shape[2], width))
        dist.all_to_all_single(found, sent, self._counts, [own] * self._size)
        return found.transpose(0, 1)

    def to_tokens(self, video: torch.Tensor) -> torch.Tensor:
        """The other way: from all tokens of own heads to all heads of own tokens."""
        batch, _, share, width = video.shape
        own = self._counts[self._rank]
        found = video.new_empty((self._size * own, batch, share, width))
        dist.all_to_all_single(found, video.transpose(0, 1).contiguous(), [own] * self._size, self._counts)
        return found.unflatten(0, (self._size, own)).permute(2, 1, 0, 3, 4).flatten(2, 3)


class Team:
    """The helpers of this process, which leads: one for each of ``devices``. Whoever makes a team ends it."""

    def __init__(self, device: torch.device, devices: Sequence[torch.device]) -> None:
        self._device, self._devices = device, devices
        # asked for while they work: a card that was lost no longer says it
        self._names = [_named(one) for one in devices]
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._watchers: list[threading.Thread] = []
        # NCCL looks at the file now and then for as long as it runs
        self._folder = tempfile.TemporaryDirectory()
        # the first helper that ended by itself
        self._lost: JobFailed | None = None
        self._noticed = threading.Event()
        self._ended = False
        self._leaving = threading.Lock()
        self._talk: dist.ProcessGroup | None = None

    def gather(self, model: Mapping[str, Any]) -> Group:
        """Start the helpers, each with the ``model`` described, and meet them.

        Raises :class:`JobFailed` where one of them cannot start.
        """
        size = 1 + len(self._devices)
        meeting = Path(self._folder.name) / "meeting"
        for rank, (device, name) in enumerate(zip(self._devices, self._names, strict=True), 1):
            helper = _started()
            self._helpers.append(helper)
            watcher = threading.Thread(target=self._watch, args=(helper, name), daemon=True)
            self._watchers.append(watcher)
            watcher.start()
            values = {"device": str(device), "rank": rank, "size": size, "meeting": str(meeting), "model": model}
            self._tell(helper, Message(values))
        self.wait()
        group = self._meet(size, meeting)
        self._talk = dist.group.WORLD
        return group

    def _meet(self, size: int, meeting: Path) -> Group:
        """Join the group, unless a helper ends meanwhile: nothing else would stop this process from waiting for it."""
        # a thread's choice is its own
        _take(self._device)
        joined: SimpleQueue[Group | Exception] = SimpleQueue()

        def join() -> None:
            try:
                joined.put(Group.join(0, size, self._device, meeting))
            except Exception as error:
                joined.put(error)
            with self._leaving:
                if self._ended:
                    # nobody waits for it any more
                    self._leave()

        threading.Thread(target=join, daemon=True).start()
        while not self._noticed.is_set():
            with contextlib.suppress(Empty):
                found = joined.get(timeout=_LOOK)
                if isinstance(found, Group):
                    return found
                raise found
        # the number of groups so far is in the name of the next one, and new helpers count from 0
        dist.distributed_c10d._world.group_count = 0
        raise BrokenPipeError("a helper has ended")

    def order(self, order: Message) -> None:
        """Have all helpers do their part in ``order``, as soon as they have loaded what it needs."""
        for helper in self._helpers:
            self._tell(helper, order)

    def wait(self) -> None:
        """Wait until all helpers are ready. Raises :class:`JobFailed` where one has ended instead."""
        for helper in self._helpers:
            assert helper.stdout is not None
            if helper.stdout.readline() != READY:
                helper.wait()
                raise BrokenPipeError("a helper has ended")

    def lost_by(self, error: BaseException) -> JobFailed | None:
        """What to tell the artist where ``error`` is how this process noticed that a helper has ended."""
        if not isinstance(error, (RuntimeError, ValueError, BrokenPipeError)):
            return None
        # it may take a moment from its last word to its end
        self._noticed.wait(_MOMENT)
        return self._lost

    def end(self) -> None:
        """End all helpers, whatever they are doing."""
        with self._leaving:
            self._ended = True
            # first: a card must not read the memory of another whose process has ended
            self._leave()
        for helper in self._helpers:
            helper.kill()
        for watcher in self._watchers:
            watcher.join()
        for helper in self._helpers:
            for pipe in (helper.stdin, helper.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        # gloo's waits for what helpers have under way, and those have ended now
        self._talk = None
        self._folder.cleanup()

    def _watch(self, helper: subprocess.Popen[bytes], name: str) -> None:
        """Where a helper ends by itself, give up what waits for it: NCCL would do so for as long as the patience is."""
        status = helper.wait()
        with self._leaving:
            if self._ended:
                return
            try:
                self._leave()
            finally:
                self._lost = self._lost or JobFailed(
                    f"The process that samples on {name} has ended; the log says why. "
                    "Resume, or let the worker see one GPU only.",
                    f"exit status {status}",
                )
                self._noticed.set()

    def _leave(self) -> None:
        """Stop whatever the processes say to each other at the moment, and be no group any more."""
        if dist.is_initialized():
            dist.distributed_c10d._abort_process_group()

    def _tell(self, helper: subprocess.Popen[bytes], what: Message) -> None:
        assert helper.stdin is not None
        what.send(helper.stdin)


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(running("void_server.engines.void.helper"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _take(device: torch.device) -> torch.device | None:
    """Have this thread use a card, which is returned; None for a CPU."""
    if device.type != "cuda":
        return None
    # by its number, also where that was not said: the talk and the kernels take cards by number alone
    card = torch.device("cuda", device.index or 0)
    torch.cuda.set_device(card)
    return card


def _named(device: torch.device) -> str:
    if device.type != "cuda":
        return f"another {str(device).upper()}"
    return f"GPU {device.index} of this worker ({torch.cuda.get_device_name(device)})"
