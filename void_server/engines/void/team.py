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
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from diffusers import CogVideoXTransformer3DModel

from ...api.errors import JobFailed
from ...interpreter import running
from .attention import Processor

#: How long a process waits for the others, in the middle of a step or while they load.
_PATIENCE = timedelta(minutes=10)
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
        # which one, also where it was not said: both take cards by number alone
        card = torch.device("cuda", device.index or 0) if device.type == "cuda" else None
        if card:
            torch.cuda.set_device(card)
        dist.init_process_group(
            "nccl" if card else "gloo",
            store=dist.FileStore(str(meeting), size),
            rank=rank,
            world_size=size,
            timeout=_PATIENCE,
            device_id=card,
        )
        return cls(rank, size)

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
    """The helpers of this process, which leads: one for each of ``devices``, from ``about`` a model."""

    def __init__(self, device: torch.device, devices: Sequence[torch.device], about: Any) -> None:
        size = 1 + len(devices)
        self._helpers = []
        # NCCL looks at the file now and then for as long as it runs
        self._folder = tempfile.TemporaryDirectory()
        meeting = Path(self._folder.name) / "meeting"
        try:
            for rank, one in enumerate(devices, 1):
                self._helpers.append(_started())
                self._tell(self._helpers[-1], (about, one, rank, size, meeting))
            self.wait()
            self.group = Group.join(0, size, device, meeting)
        except BaseException:
            self._kill()
            self._folder.cleanup()
            raise

    def order(self, order: Any) -> None:
        """Have all helpers do their part in ``order``, as soon as they have loaded what it needs."""
        for helper in self._helpers:
            self._tell(helper, order)

    def wait(self) -> None:
        """Wait until all helpers are ready. Raises :class:`JobFailed` where one has ended instead."""
        for helper in self._helpers:
            assert helper.stdout is not None
            if helper.stdout.readline() != READY:
                raise lost_helper()

    @property
    def has_lost_one(self) -> bool:
        """Whether a helper has ended."""
        return any(helper.poll() is not None for helper in self._helpers)

    def end(self) -> None:
        """End all helpers, whatever they are doing."""
        self._kill()
        dist.destroy_process_group()
        self._folder.cleanup()

    def _kill(self) -> None:
        for helper in self._helpers:
            helper.kill()
            helper.wait()
            for pipe in (helper.stdin, helper.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _tell(self, helper: subprocess.Popen[bytes], what: Any) -> None:
        assert helper.stdin is not None
        try:
            pickle.dump(what, helper.stdin)
            helper.stdin.flush()
        except OSError as error:
            raise lost_helper() from error


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(running("void_server.engines.void.helper"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def lost_helper() -> JobFailed:
    """What an artist is told when a helper has ended."""
    return JobFailed(
        "A process that samples on another GPU has ended; the log says why. Resume, or let the worker see one GPU only."
    )
